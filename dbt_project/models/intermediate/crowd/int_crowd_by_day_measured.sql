with hours as (
    select * from {{ ref('int_crowd_hours') }}
),

grid as (
    {{ public_grid('crowd_by_day', 'crowd_flows', 'day', ['place', 'hour']) }}
),

counted as (
    select
        day as period_start,
        place_id,
        hour,
        cast(sum(people) as bigint) as people
    from hours
    group by day, place_id, hour
),

measured as (
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'place_id', 'hour'],
        count='people'
    ) }}
)

select * from measured
