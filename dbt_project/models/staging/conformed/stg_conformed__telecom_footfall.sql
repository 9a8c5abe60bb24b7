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
    -- Whole people: one device then changes a delivered count by one at most, and a sum is exact.
    cast(round(people) as bigint) as people
from source
where measure = (select settings.footfall_measure from settings)
