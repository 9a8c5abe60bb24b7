with source as (
    select * from {{ source('conformed', 'telecom_footfall') }}
),

settings as (
    select * from {{ source('reference', 'settings') }}
)

select
    source.event_date,
    source.starts_at,
    source.local_hour,
    source.zone_id,
    source.category,
    -- Exact, so that a sum does not depend on the order in which rows are read.
    cast(source.people as decimal(18, 3)) as people
from source
inner join settings on source.measure = settings.footfall_measure
