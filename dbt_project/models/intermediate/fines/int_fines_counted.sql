with fines as (
    select * from {{ ref('stg_verbalisations__verbalisations') }}
),

zones as (
    select * from {{ ref('stg_reference__zones') }}
),

calendar as (
    select * from {{ ref('stg_reference__calendar') }}
    where silo = 'verbalisations'
),

first_of_month as (
    {{ bound_contributions(
        rows='fines',
        unit='vehicle',
        month="date_trunc('month', event_date)",
        order_by=['event_date', 'occurred_at'],
        row_key='record_key'
    ) }}
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
        first_of_month.local_hour as hour,
        first_of_month.zone_id,
        first_of_month.nature,
        count(*) as fines
    from first_of_month
    inner join calendar on first_of_month.event_date = calendar.day
    group by grouping sets ( -- noqa: PRS, RF02
        (calendar.day, first_of_month.zone_id),
        (calendar.month_start, first_of_month.zone_id, first_of_month.nature),
        (calendar.quarter_start, calendar.iso_weekday, first_of_month.local_hour, first_of_month.zone_id)
    )
)

select
    counted.grain,
    counted.quarter_start,
    counted.month_start,
    counted.day,
    counted.iso_weekday,
    counted.hour,
    coalesce(zones.zone_key, 0) as zone_key,
    coalesce(zones.area_id, 'unknown') as area_id,
    counted.nature,
    cast(sum(counted.fines) as bigint) as fines
from counted
left join zones on counted.zone_id = zones.delivered_zone_id
group by
    counted.grain,
    counted.quarter_start,
    counted.month_start,
    counted.day,
    counted.iso_weekday,
    counted.hour,
    coalesce(zones.zone_key, 0),
    coalesce(zones.area_id, 'unknown'),
    counted.nature
