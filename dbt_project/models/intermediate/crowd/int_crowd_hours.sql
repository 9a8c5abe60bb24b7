with flows as (
    select * from {{ ref('stg_crowd_flows__crowd_flows') }}
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
        event_date,
        local_hour,
        sum(people) as people
    from flows
    group by place_id, event_date, local_hour
)

select
    calendar.quarter_start,
    calendar.iso_weekday,
    counted.event_date as day,
    counted.place_id,
    counted.local_hour as hour,
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
