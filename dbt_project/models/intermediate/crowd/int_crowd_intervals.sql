with flows as (
    select * from {{ ref('stg_conformed__crowd_flows') }}
),

places as (
    select * from {{ ref('stg_reference__places') }}
),

calendar as (
    select * from {{ ref('stg_reference__calendar') }}
    where silo = 'crowd_flows'
),

counted as (
    select
        event_date,
        place_id,
        starts_at,
        local_hour,
        max(duration_minutes) as minutes,
        max(area_m2) as area_m2,
        sum(people) as people
    from flows
    group by event_date, place_id, starts_at, local_hour
),

measured as (
    select
        calendar.quarter_start,
        calendar.iso_weekday,
        counted.event_date as day,
        coalesce(places.place_id, 'unknown') as place_id,
        counted.local_hour as hour,
        counted.minutes,
        cast(counted.people as bigint) as people,
        places.density_threshold,
        -- People per square metre and quarter of an hour; exact, so that a sum does not depend on the order of rows.
        cast(
            counted.people * 15.0 / counted.minutes / coalesce(counted.area_m2, places.area_m2) as decimal(18, 6)
        ) as density
    from counted
    inner join calendar on counted.event_date = calendar.day
    left join places on counted.place_id = places.place_id
)

select
    quarter_start,
    iso_weekday,
    day,
    place_id,
    hour,
    minutes,
    people,
    density,
    density > density_threshold as is_over_threshold
from measured
