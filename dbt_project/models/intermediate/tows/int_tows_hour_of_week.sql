with tows as (
    select * from {{ ref('stg_conformed__tows') }}
    where local_hour is not null
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
        calendar.quarter_start,
        calendar.iso_weekday,
        tows.local_hour as hour,
        tows.zone_id,
        count(*) as tows
    from tows
    inner join calendar on tows.event_date = calendar.day
    group by
        calendar.quarter_start,
        calendar.iso_weekday,
        tows.local_hour,
        tows.zone_id
)

select
    counted.quarter_start,
    counted.iso_weekday,
    counted.hour,
    coalesce(zones.zone_id, 'unknown') as zone_id,
    coalesce(zones.area_id, 'unknown') as area_id,
    cast(sum(counted.tows) as bigint) as tows
from counted
left join zones on counted.zone_id = zones.delivered_zone_id
group by
    counted.quarter_start,
    counted.iso_weekday,
    counted.hour,
    coalesce(zones.zone_id, 'unknown'),
    coalesce(zones.area_id, 'unknown')
