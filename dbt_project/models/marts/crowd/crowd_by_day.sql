with intervals as (
    select * from {{ ref('int_crowd_intervals') }}
),

grid as (
    {{ public_grid('crowd_flows', 'day', ['place']) }}
),

counted as (
    select
        day as period_start,
        place_id,
        cast(sum(people) as bigint) as people,
        cast(max(density) as double) as peak_density,
        cast(sum(case when is_over_threshold then minutes when not is_over_threshold then 0 end) / 15 as bigint)
            as quarter_hours_over_threshold
    from intervals
    group by day, place_id
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'place_id'],
        measure='people',
        threshold=var('display_threshold'),
        companions=['peak_density', 'quarter_hours_over_threshold']
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    place_id,
    place_name,
    people,
    people_label,
    peak_density,
    quarter_hours_over_threshold
from published
