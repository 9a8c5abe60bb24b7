with hours as (
    select * from {{ ref('int_crowd_hours') }}
),

counted as (
    select
        quarter_start as period_start,
        place_id,
        iso_weekday,
        hour,
        cast(sum(people) as bigint) as people
    from hours
    group by quarter_start, place_id, iso_weekday, hour
),

measured as (
    {{ measure_counts('crowd_profile', counts='counted', count='people') }}
)

select * from measured
