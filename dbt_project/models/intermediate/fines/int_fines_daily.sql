with fines as (
    select * from {{ ref('stg_conformed__verbalisations') }}
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
        event_date,
        zone_id,
        nature,
        count(*) as fines
    from fines
    group by event_date, zone_id, nature
)

select
    calendar.month_start,
    counted.event_date,
    coalesce(zones.zone_id, 'unknown') as zone_id,
    coalesce(zones.area_id, 'unknown') as area_id,
    counted.nature,
    cast(sum(counted.fines) as bigint) as fines
from counted
inner join calendar on counted.event_date = calendar.day
left join zones on counted.zone_id = zones.delivered_zone_id
group by
    calendar.month_start,
    counted.event_date,
    coalesce(zones.zone_id, 'unknown'),
    coalesce(zones.area_id, 'unknown'),
    counted.nature
