with flows as (
    select * from {{ ref('int_crowd_by_direction') }}
),

grid as (
    {{ public_grid('crowd_flows', 'month', ['place', 'direction']) }}
),

counted as (
    select
        month_start as period_start,
        place_id,
        direction,
        cast(sum(people) as bigint) as people
    from flows
    group by month_start, place_id, direction
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'place_id', 'direction'],
        measure='people',
        threshold=var('display_threshold')
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    place_id,
    place_name,
    direction,
    people,
    people_label
from published
