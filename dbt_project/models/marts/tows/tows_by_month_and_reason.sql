with measured as (
    select * from {{ ref('int_tows_by_month_and_reason_measured') }}
),

totals as (
    select * from {{ ref('int_tows_month_totals') }}
),

published as (
    {{ publish_fitted('tows_by_month_and_reason', leaves='measured', totals='totals', parent=['unit_start']) }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    reason_group,
    tows,
    tows_label
from published
