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
        tows.local_hour as hour,
        tows.zone_id,
        tows.reason,
        tows.delay_band,
        count(*) as tows
    from tows
    inner join calendar on tows.event_date = calendar.day
    group by grouping sets ( -- noqa: PRS, RF02
        (calendar.day, tows.zone_id),
        (calendar.month_start, tows.zone_id, tows.reason, tows.delay_band),
        (calendar.quarter_start, calendar.iso_weekday, tows.local_hour, tows.zone_id)
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
    counted.reason,
    counted.delay_band,
    counted.tows
from counted
left join zones on counted.zone_id = zones.delivered_zone_id
