with hours as (
    select * from {{ ref('int_crowd_hours') }}
),

grid as (
    {{ public_grid('crowd_profile', 'crowd_flows', 'quarter', ['place', 'weekday', 'hour']) }}
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
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'place_id', 'iso_weekday', 'hour'],
        count='people'
    ) }}
)

select * from measured
