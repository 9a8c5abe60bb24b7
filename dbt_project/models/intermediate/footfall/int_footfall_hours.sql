with footfall as (
    select * from {{ ref('stg_conformed__telecom_footfall') }}
),

calendar as (
    select * from {{ ref('stg_reference__calendar') }}
    where silo = 'telecom_footfall'
),

hours as (
    select * from {{ ref('hours') }}
),

observed as (
    select distinct
        event_date,
        local_hour,
        starts_at
    from footfall
)

select
    calendar.quarter_start,
    calendar.month_start,
    calendar.iso_weekday,
    calendar.is_clock_change,
    observed.event_date,
    hours.hour,
    hours.time_band,
    cast(count(*) as bigint) as hours_observed
from observed
inner join calendar on observed.event_date = calendar.day
inner join hours on observed.local_hour = hours.hour
group by
    calendar.quarter_start,
    calendar.month_start,
    calendar.iso_weekday,
    calendar.is_clock_change,
    observed.event_date,
    hours.hour,
    hours.time_band
