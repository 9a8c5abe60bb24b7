with measured as (
    select * from {{ ref('int_fines_by_month_measured') }}
),

totals as (
    select * from {{ ref('int_fines_totals') }}
),

published as (
    {{ publish_fitted('fines_by_month', leaves='measured', totals='totals', parent=['unit_start', 'area_id']) }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    zone_id,
    zone_name,
    fines,
    fines_label
from published
