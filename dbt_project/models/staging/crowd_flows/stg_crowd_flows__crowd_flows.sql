with source as (
    select * from {{ source('crowd_flows', 'crowd_flows') }}
)

select
    event_date,
    local_hour,
    place_id,
    direction,
    cohort,
    starts_at,
    people
from source
