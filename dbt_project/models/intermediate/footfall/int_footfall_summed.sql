with footfall as (
    select * from {{ ref('stg_conformed__telecom_footfall') }}
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
),

summed as (
    -- One pass over the lake for all the grains that marts need.
    select
        case
            when grouping(footfall.starts_at) = 0 then 'instant'
            when grouping(calendar.day) = 0 then 'day'
            when grouping(calendar.month_start) = 0 then 'month'
            else 'hour_of_week'
        end as grain,
        calendar.quarter_start,
        calendar.month_start,
        calendar.day,
        calendar.iso_weekday,
        footfall.local_hour as hour,
        footfall.starts_at,
        footfall.zone_id,
        footfall.category,
        sum(footfall.people) as people_hours
    from footfall
    inner join calendar on footfall.event_date = calendar.day
    group by grouping sets ( -- noqa: PRS, RF02
        (calendar.day, footfall.local_hour, footfall.starts_at),
        (calendar.day, footfall.zone_id, footfall.category),
        (calendar.month_start, footfall.local_hour, footfall.zone_id, footfall.category),
        (calendar.quarter_start, calendar.iso_weekday, footfall.local_hour, footfall.zone_id, footfall.category)
    )
)

select
    summed.grain,
    summed.quarter_start,
    summed.month_start,
    summed.day,
    summed.iso_weekday,
    summed.hour,
    hours.time_band,
    coalesce(zones.zone_id, 'unknown') as zone_id,
    coalesce(zones.area_id, 'unknown') as area_id,
    summed.category,
    summed.people_hours
from summed
left join zones on summed.zone_id = zones.delivered_zone_id
left join hours on summed.hour = hours.hour
