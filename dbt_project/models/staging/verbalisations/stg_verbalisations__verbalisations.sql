with source as (
    select * from {{ source('verbalisations', 'verbalisations') }}
)

select
    record_key,
    vehicle,
    event_date,
    occurred_at,
    local_hour,
    zone_id,
    nature
from source
