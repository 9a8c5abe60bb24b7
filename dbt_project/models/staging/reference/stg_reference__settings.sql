select
    footfall_measure,
    footfall_hidden
from {{ source('reference', 'settings') }}
