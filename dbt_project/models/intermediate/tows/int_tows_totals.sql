with by_area as (
    select * from {{ ref('int_tows_by_area_measured') }}
),

by_reason as (
    select * from {{ ref('int_tows_by_reason_measured') }}
),

by_delay as (
    select * from {{ ref('int_tows_delay_measured') }}
),

estimates as (
    {{ estimate_of('tows_by_area', leaves='by_area', parent=['unit_start']) }}
    union all
    {{ estimate_of('tows_by_reason', leaves='by_reason', parent=['unit_start']) }}
    union all
    {{ estimate_of('tows_delay', leaves='by_delay', parent=['unit_start']) }}
)

{{ common_totals('estimates', parent=['unit_start']) }}
