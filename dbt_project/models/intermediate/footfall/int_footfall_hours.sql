with instants as (
    select * from {{ ref('int_footfall_summed') }}
    where grain = 'instant'
),

calendar as (
    select * from {{ ref('stg_reference__calendar') }}
    where silo = 'telecom_footfall'
)

select
    calendar.quarter_start,
    calendar.month_start,
    calendar.day,
    calendar.iso_weekday,
    calendar.is_clock_change,
    instants.hour,
    instants.time_band,
    count(*) as hours_observed
from instants
inner join calendar on instants.day = calendar.day
group by
    calendar.quarter_start,
    calendar.month_start,
    calendar.day,
    calendar.iso_weekday,
    calendar.is_clock_change,
    instants.hour,
    instants.time_band
