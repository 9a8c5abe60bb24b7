with tows as (
    select * from {{ ref('stg_tows__tows') }}
),

zones as (
    select * from {{ ref('stg_reference__zones') }}
),

calendar as (
    select * from {{ ref('stg_reference__calendar') }}
    where silo = 'tows'
),

first_of_month as (
    {{ bound_contributions(
        rows='tows',
        unit='vehicle',
        month="date_trunc('month', event_date)",
        order_by=['event_date', 'removed_at'],
        row_key='record_key'
    ) }}
),

counted as (
    -- One pass over the lake for all the grains that marts need.
    select
        case
            when grouping(first_of_month.reason) = 0 then 'reason'
            when grouping(first_of_month.zone_id) = 0 then 'zone'
            when grouping(first_of_month.delay_band) = 0 then 'delay'
            else 'hour'
        end as grain,
        calendar.quarter_start,
        calendar.month_start,
        first_of_month.local_hour as hour,
        first_of_month.zone_id,
        first_of_month.reason,
        first_of_month.delay_band,
        count(*) as tows
    from first_of_month
    inner join calendar on first_of_month.event_date = calendar.day
    group by grouping sets ( -- noqa: PRS, RF02
        (calendar.quarter_start, calendar.month_start, first_of_month.reason),
        (calendar.quarter_start, first_of_month.zone_id),
        (calendar.quarter_start, first_of_month.delay_band),
        (calendar.quarter_start, first_of_month.local_hour)
    )
)

select
    counted.grain,
    counted.quarter_start,
    counted.month_start,
    counted.hour,
    coalesce(zones.area_id, 'unknown') as area_id,
    counted.reason,
    counted.delay_band,
    cast(sum(counted.tows) as bigint) as tows
from counted
left join zones on counted.zone_id = zones.delivered_zone_id
group by
    counted.grain,
    counted.quarter_start,
    counted.month_start,
    counted.hour,
    coalesce(zones.area_id, 'unknown'),
    counted.reason,
    counted.delay_band
