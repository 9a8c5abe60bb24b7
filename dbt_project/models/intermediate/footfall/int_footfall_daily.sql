with footfall as (
    select * from {{ ref('stg_conformed__telecom_footfall') }}
),

zones as (
    select * from {{ ref('stg_reference__zones') }}
),

calendar as (
    select * from {{ ref('stg_reference__calendar') }}
    where silo = 'telecom_footfall'
),

hours as (
    select * from {{ ref('hours') }}
),

summed as (
    select
        footfall.event_date,
        footfall.zone_id,
        footfall.category,
        hours.time_band,
        sum(footfall.people) as people_hours
    from footfall
    inner join hours on footfall.local_hour = hours.hour
    group by
        footfall.event_date,
        footfall.zone_id,
        footfall.category,
        hours.time_band
)

select
    calendar.month_start,
    summed.event_date,
    coalesce(zones.zone_id, 'unknown') as zone_id,
    coalesce(zones.area_id, 'unknown') as area_id,
    summed.time_band,
    summed.category,
    sum(summed.people_hours) as people_hours
from summed
inner join calendar on summed.event_date = calendar.day
left join zones on summed.zone_id = zones.delivered_zone_id
group by
    calendar.month_start,
    summed.event_date,
    coalesce(zones.zone_id, 'unknown'),
    coalesce(zones.area_id, 'unknown'),
    summed.time_band,
    summed.category
