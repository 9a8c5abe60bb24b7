with footfall as (
    select * from {{ ref('stg_conformed__telecom_footfall') }}
),

hours as (
    select * from {{ ref('hours') }}
),

calendar as (
    select * from {{ ref('stg_reference__calendar') }}
    where silo = 'telecom_footfall'
),

instants as (
    select distinct
        event_date,
        local_hour,
        starts_at
    from footfall
),

delivered as (
    select
        event_date,
        local_hour,
        count(starts_at) as hours_observed
    from instants
    group by event_date, local_hour
)

select
    calendar.quarter_start,
    calendar.month_start,
    calendar.day,
    calendar.iso_weekday,
    calendar.is_clock_change,
    delivered.local_hour as hour,
    hours.time_band,
    delivered.hours_observed
from delivered
inner join calendar on delivered.event_date = calendar.day
left join hours on delivered.local_hour = hours.hour
