with by_area as (
    select * from {{ ref('int_tows_by_area_measured') }}
),

by_reason as (
    select * from {{ ref('int_tows_by_reason_measured') }}
),

by_delay as (
    select * from {{ ref('int_tows_delay_measured') }}
),

by_band as (
    select * from {{ ref('int_tows_profile_measured') }}
),

estimates as (
    {{ estimate_of('tows_by_area', leaves='by_area', parent=['unit_start']) }}
    union all
    {{ estimate_of('tows_by_reason', leaves='by_reason', parent=['unit_start']) }}
    union all
    {{ estimate_of('tows_delay', leaves='by_delay', parent=['unit_start']) }}
    union all
    {{ estimate_of('tows_profile', leaves='by_band', parent=['unit_start']) }}
),

common as (
    {{ common_totals('estimates', parent=['unit_start']) }}
),

own as (
    select
        unit_start,
        'city' as parent,
        total
    from common
),

by_month as (
    select * from {{ ref('tows_by_month') }}
),

by_month_and_reason as (
    select * from {{ ref('tows_by_month_and_reason') }}
),

shown as (
    {{ shown_totals('by_month', 'period_start', "'city'", 'tows') }}
    union all
    {{ shown_totals('by_month_and_reason', 'period_start', "'city'", 'tows') }}
),

totals as (
    {{ quarter_totals('own', 'shown', 'tows') }}
)

select
    unit_start,
    total
from totals
