with hours as (
    select * from {{ source('reference', 'hours') }}
),

bands as (
    select * from {{ ref('hours') }}
)

select
    hours.silo,
    hours.day,
    hours.month_start,
    hours.quarter_start,
    hours.iso_weekday,
    hours.hour,
    bands.time_band,
    hours.hours,
    hours.hours_covered
from hours
inner join bands on hours.hour = bands.hour
