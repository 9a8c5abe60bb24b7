with footfall as (
    select * from {{ ref('stg_telecom_footfall__telecom_footfall') }}
),

zones as (
    select * from {{ ref('stg_reference__zones') }}
),

hours as (
    select * from {{ ref('hours') }}
),

calendar as (
    select * from {{ ref('stg_reference__calendar') }}
    where silo = 'telecom_footfall'
)

select
    calendar.quarter_start,
    calendar.month_start,
    calendar.day,
    calendar.iso_weekday,
    footfall.local_hour as hour,
    hours.time_band,
    coalesce(zones.zone_key, 0) as zone_key,
    coalesce(zones.area_id, 'unknown') as area_id,
    footfall.category,
    footfall.zone_id as delivered_zone_id,
    footfall.stratum,
    footfall.starts_at,
    footfall.people_over_hidden
from footfall
inner join calendar on footfall.event_date = calendar.day
left join zones on footfall.zone_id = zones.delivered_zone_id
left join hours on footfall.local_hour = hours.hour
