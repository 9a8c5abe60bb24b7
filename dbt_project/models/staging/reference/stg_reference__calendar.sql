select
    silo,
    day,
    month_start,
    month_end,
    quarter_start,
    quarter_end,
    iso_weekday,
    is_clock_change
from {{ source('reference', 'calendar') }}
