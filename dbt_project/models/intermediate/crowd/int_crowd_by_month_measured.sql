with flows as (
    select * from {{ ref('int_crowd_by_direction') }}
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
    {{ measure_counts('crowd_by_month', counts='counted', count='people') }}
)

select * from measured
