with by_day as (
    select * from {{ ref('int_fines_by_day_measured') }}
),

by_month as (
    select * from {{ ref('int_fines_by_month_measured') }}
),

by_nature as (
    select * from {{ ref('int_fines_by_nature_measured') }}
),

estimates as (
    {{ estimate_of('fines_by_day', leaves='by_day', parent=['unit_start', 'area_id']) }}
    union all
    {{ estimate_of('fines_by_month', leaves='by_month', parent=['unit_start', 'area_id']) }}
    union all
    {{ estimate_of('fines_by_nature', leaves='by_nature', parent=['unit_start', 'area_id']) }}
)

{{ common_totals('estimates', parent=['unit_start', 'area_id']) }}
