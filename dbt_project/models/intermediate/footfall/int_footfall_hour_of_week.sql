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

summed as (
    select
        calendar.quarter_start,
        calendar.iso_weekday,
        footfall.local_hour as hour,
        footfall.zone_id,
        footfall.category,
        sum(footfall.people) as people_hours
    from footfall
    inner join calendar on footfall.event_date = calendar.day
    group by
        calendar.quarter_start,
        calendar.iso_weekday,
        footfall.local_hour,
        footfall.zone_id,
        footfall.category
)

select
    summed.quarter_start,
    summed.iso_weekday,
    summed.hour,
    coalesce(zones.zone_id, 'unknown') as zone_id,
    summed.category,
    sum(summed.people_hours) as people_hours
from summed
left join zones on summed.zone_id = zones.delivered_zone_id
group by
    summed.quarter_start,
    summed.iso_weekday,
    summed.hour,
    coalesce(zones.zone_id, 'unknown'),
    summed.category
