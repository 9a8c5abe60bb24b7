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
        calendar.month_start,
        flows.place_id,
        flows.direction,
        sum(flows.people) as people
    from flows
    inner join calendar on flows.event_date = calendar.day
    group by calendar.month_start, flows.place_id, flows.direction
)

select
    counted.month_start,
    counted.place_id,
    counted.direction,
    cast(sum(counted.people) as bigint) as people
from counted
inner join places on counted.place_id = places.place_id
group by
    counted.month_start,
    counted.place_id,
    counted.direction
