with tows as (
    select * from {{ ref('stg_conformed__tows') }}
),

zones as (
    select * from {{ ref('stg_reference__zones') }}
),

calendar as (
    select * from {{ ref('stg_reference__calendar') }}
    where silo = 'tows'
),

counted as (
    select
        event_date,
        zone_id,
        reason,
        delay_band,
        count(*) as tows
    from tows
    group by event_date, zone_id, reason, delay_band
)

select
    calendar.month_start,
    counted.event_date,
    coalesce(zones.zone_id, 'unknown') as zone_id,
    coalesce(zones.area_id, 'unknown') as area_id,
    counted.reason,
    counted.delay_band,
    cast(sum(counted.tows) as bigint) as tows
from counted
inner join calendar on counted.event_date = calendar.day
left join zones on counted.zone_id = zones.delivered_zone_id
group by
    calendar.month_start,
    counted.event_date,
    coalesce(zones.zone_id, 'unknown'),
    coalesce(zones.area_id, 'unknown'),
    counted.reason,
    counted.delay_band
