with source as (
    select * from {{ source('conformed', 'verbalisations') }}
)

select
    event_date,
    local_hour,
    zone_id,
    nature
from source
