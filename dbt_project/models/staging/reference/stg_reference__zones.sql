with source as (
    select * from {{ source('reference', 'zones') }}
)

select
    zone.zone_id as delivered_zone_id,
    zone.published_zone_id as zone_id,
    zone.published_zone_name as zone_name,
    -- A merged zone counts in the area it is published in, so that zones always sum to areas.
    published.area_id,
    published.area_name
from source as zone
inner join source as published on zone.published_zone_id = published.zone_id
