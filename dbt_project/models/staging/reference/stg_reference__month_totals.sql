select
    silo,
    month_start,
    parent,
    total
from {{ source('reference', 'month_totals') }}
