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
        place_id,
        starts_at,
        max(event_date) as event_date,
        max(local_hour) as local_hour,
        max(duration_minutes) as minutes,
        max(area_m2) as area_m2,
        sum(people) as people
    from flows
    group by place_id, starts_at
)

select
    calendar.quarter_start,
    calendar.iso_weekday,
    counted.event_date as day,
    counted.place_id,
    counted.local_hour as hour,
    cast(sum(counted.minutes) as bigint) as minutes,
    max(coalesce(counted.area_m2, places.area_m2)) as area_m2,
    max(places.density_threshold) as density_threshold,
    cast(sum(counted.people) as bigint) as people
from counted
inner join calendar on counted.event_date = calendar.day
inner join places on counted.place_id = places.place_id
group by
    calendar.quarter_start,
    calendar.iso_weekday,
    counted.event_date,
    counted.place_id,
    counted.local_hour
