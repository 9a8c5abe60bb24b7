with footfall as (
    select * from {{ ref('int_footfall_summed') }}
    where grain = 'month'
),

hours as (
    select * from {{ ref('int_footfall_hours') }}
),

grid as (
    {{ public_grid('telecom_footfall', 'month', ['zone', 'time_band', 'category']) }}
),

totals as (
    select
        month_start as period_start,
        zone_id,
        time_band,
        category,
        sum(people_hours) as people_hours
    from footfall
    group by month_start, zone_id, time_band, category
),

observed as (
    select
        month_start as period_start,
        time_band,
        sum(hours_observed) as hours_observed
    from hours
    group by month_start, time_band
),

averaged as (
    select
        totals.period_start,
        totals.zone_id,
        totals.time_band,
        totals.category,
        cast(totals.people_hours as double) / cast(observed.hours_observed as double) as mean_people
    from totals
    inner join observed
        on
            totals.period_start = observed.period_start
            and totals.time_band = observed.time_band
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='averaged',
        keys=['period_start', 'zone_id', 'time_band', 'category'],
        measure='mean_people',
        threshold=var('display_threshold_telecom')
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    zone_id,
    zone_name,
    time_band,
    category,
    round(mean_people, 1) as mean_people,
    mean_people_label
from published
