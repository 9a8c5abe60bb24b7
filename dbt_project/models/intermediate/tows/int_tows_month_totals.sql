with by_month as (
    select * from {{ ref('int_tows_by_month_measured') }}
),

by_reason as (
    select * from {{ ref('int_tows_by_month_and_reason_measured') }}
),

estimates as (
    {{ estimate_of('tows_by_month', leaves='by_month', parent=['unit_start']) }}
    union all
    {{ estimate_of('tows_by_month_and_reason', leaves='by_reason', parent=['unit_start']) }}
)

{{ common_totals('estimates', parent=['unit_start']) }}
