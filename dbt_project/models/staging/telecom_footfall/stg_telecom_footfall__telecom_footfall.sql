with source as (
    select * from {{ source('telecom_footfall', 'telecom_footfall') }}
),

settings as (
    select * from {{ source('reference', 'settings') }}
)

select
    source.event_date,
    source.local_hour,
    source.zone_id,
    source.category,
    source.stratum,
    source.starts_at,
    -- Whole people: one device then changes a delivered count by one at most, and a sum is exact.
    greatest(cast(round(source.people) as bigint) - settings.footfall_hidden, 0) as people_over_hidden
from source
inner join settings on source.measure = settings.footfall_measure
