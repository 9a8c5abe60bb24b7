with source as (
    select * from {{ source('conformed', 'crowd_flows') }}
)

select
    event_date,
    starts_at,
    local_hour,
    duration_minutes,
    place_id,
    direction,
    people,
    area_m2
from source
