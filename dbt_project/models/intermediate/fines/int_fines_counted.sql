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
    -- One pass over the lake for all the grains that marts need.
    select
        case
            when grouping(calendar.day) = 0 then 'day'
            when grouping(calendar.month_start) = 0 then 'month'
            else 'hour_of_week'
        end as grain,
        calendar.quarter_start,
        calendar.month_start,
        calendar.day,
        calendar.iso_weekday,
        fines.local_hour as hour,
        fines.zone_id,
        fines.nature,
        count(*) as fines
    from fines
    inner join calendar on fines.event_date = calendar.day
    group by grouping sets ( -- noqa: PRS, RF02
        (calendar.day, fines.zone_id),
        (calendar.month_start, fines.zone_id, fines.nature),
        (calendar.quarter_start, calendar.iso_weekday, fines.local_hour, fines.zone_id)
    )
)

select
    counted.grain,
    counted.quarter_start,
    counted.month_start,
    counted.day,
    counted.iso_weekday,
    counted.hour,
    coalesce(zones.zone_id, 'unknown') as zone_id,
    coalesce(zones.area_id, 'unknown') as area_id,
    counted.nature,
    counted.fines
from counted
left join zones on counted.zone_id = zones.delivered_zone_id
