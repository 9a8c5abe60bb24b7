with flows as (
    select * from {{ ref('int_crowd_by_direction') }}
),

grid as (
    {{ public_grid('crowd_by_month', 'crowd_flows', 'month', ['place', 'direction']) }}
),

counted as (
    select
        month_start as period_start,
        place_id,
        direction,
        people
    from flows
),

measured as (
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'place_id', 'direction'],
        count='people'
    ) }}
)

select * from measured
