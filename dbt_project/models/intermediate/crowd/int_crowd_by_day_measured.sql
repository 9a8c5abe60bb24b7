with hours as (
    select * from {{ ref('int_crowd_hours') }}
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
    {{ measure_counts('crowd_by_day', counts='counted', count='people') }}
)

select * from measured
