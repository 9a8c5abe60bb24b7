select
    silo,
    day,
    month_start,
    quarter_start,
    iso_weekday,
    is_clock_change
from {{ source('reference', 'calendar') }}
