with fines as (
    select * from {{ ref('stg_conformed__verbalisations') }}
    where local_hour is not null
),

zones as (
    select * from {{ ref('stg_reference__zones') }}
),

calendar as (
    select * from {{ ref('stg_reference__calendar') }}
    where silo = 'verbalisations'
),

counted as (
    select
        calendar.quarter_start,
        calendar.iso_weekday,
        fines.local_hour as hour,
        fines.zone_id,
        count(*) as fines
    from fines
    inner join calendar on fines.event_date = calendar.day
    group by
        calendar.quarter_start,
        calendar.iso_weekday,
        fines.local_hour,
        fines.zone_id
)

select
    counted.quarter_start,
    counted.iso_weekday,
    counted.hour,
    coalesce(zones.zone_id, 'unknown') as zone_id,
    coalesce(zones.area_id, 'unknown') as area_id,
    cast(sum(counted.fines) as bigint) as fines
from counted
left join zones on counted.zone_id = zones.delivered_zone_id
group by
    counted.quarter_start,
    counted.iso_weekday,
    counted.hour,
    coalesce(zones.zone_id, 'unknown'),
    coalesce(zones.area_id, 'unknown')
