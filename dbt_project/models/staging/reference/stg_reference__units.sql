select
    mart,
    unit_start,
    unit_end,
    edition
from {{ source('reference', 'units') }}
