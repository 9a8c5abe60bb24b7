with source as (
    select * from {{ source('reference', 'zones') }}
)

select
    zone.zone_id as delivered_zone_id,
    zone.published_zone_id as zone_id,
    zone.published_zone_name as zone_name,
    -- A merged zone counts in the area it is published in, so that zones always sum to areas.
    published.area_id,
    published.area_name,
    -- The published zone as a number, 0 where it is unknown: what is joined for each of millions of rows.
    case
        when zone.published_zone_id = 'unknown' then 0
        else dense_rank() over (order by zone.published_zone_id)
    end as zone_key
from source as zone
inner join source as published on zone.published_zone_id = published.zone_id
