with footfall as (
    select * from {{ ref('int_footfall_summed') }}
    where grain = 'hour_of_week'
),

hours as (
    select * from {{ ref('int_footfall_hours') }}
),

grid as (
    {{ public_grid('telecom_footfall', 'quarter', ['zone', 'weekday', 'hour', 'category']) }}
),

totals as (
    select
        quarter_start as period_start,
        zone_id,
        iso_weekday,
        hour,
        category,
        sum(people_hours) as people_hours
    from footfall
    group by quarter_start, zone_id, iso_weekday, hour, category
),

observed as (
    select
        quarter_start as period_start,
        iso_weekday,
        hour,
        sum(hours_observed) as hours_observed
    from hours
    group by quarter_start, iso_weekday, hour
),

averaged as (
    select
        totals.period_start,
        totals.zone_id,
        totals.iso_weekday,
        totals.hour,
        totals.category,
        cast(totals.people_hours as double) / cast(observed.hours_observed as double) as mean_people
    from totals
    inner join observed
        on
            totals.period_start = observed.period_start
            and totals.iso_weekday = observed.iso_weekday
            and totals.hour = observed.hour
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='averaged',
        keys=['period_start', 'zone_id', 'iso_weekday', 'hour', 'category'],
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
    iso_weekday,
    hour,
    category,
    round(mean_people, 1) as mean_people,
    mean_people_label
from published
