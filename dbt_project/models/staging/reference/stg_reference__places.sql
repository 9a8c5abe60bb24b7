select
    place_id,
    place_name,
    area_m2,
    density_threshold
from {{ source('reference', 'places') }}
