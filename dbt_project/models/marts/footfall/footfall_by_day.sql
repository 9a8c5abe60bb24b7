with footfall as (
    select * from {{ ref('int_footfall_summed') }}
    where grain = 'day'
),

hours as (
    select * from {{ ref('int_footfall_hours') }}
),

grid as (
    {{ public_grid('telecom_footfall', 'day', ['area', 'category']) }}
),

totals as (
    select
        day as period_start,
        area_id,
        category,
        sum(people_hours) as people_hours
    from footfall
    group by day, area_id, category
),

observed as (
    select
        day as period_start,
        sum(hours_observed) as hours_observed
    from hours
    group by day
),

averaged as (
    select
        totals.period_start,
        totals.area_id,
        totals.category,
        cast(totals.people_hours as double) / cast(observed.hours_observed as double) as mean_people
    from totals
    inner join observed
        on totals.period_start = observed.period_start
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='averaged',
        keys=['period_start', 'area_id', 'category'],
        measure='mean_people',
        threshold=var('display_threshold_telecom')
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    area_id,
    area_name,
    category,
    round(mean_people, 1) as mean_people,
    mean_people_label
from published
