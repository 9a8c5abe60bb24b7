with source as (
    select * from {{ source('conformed', 'telecom_footfall') }}
),

settings as (
    select * from {{ source('reference', 'settings') }}
)

select
    event_date,
    starts_at,
    local_hour,
    zone_id,
    category,
    -- Exact, so that a sum does not depend on the order in which rows are read.
    cast(people as decimal(18, 3)) as people
from source
where measure = (select settings.footfall_measure from settings)
