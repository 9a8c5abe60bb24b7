with measured as (
    select * from {{ ref('int_tows_delay_measured') }}
),

totals as (
    select * from {{ ref('int_tows_totals') }}
),

published as (
    {{ publish_fitted('tows_delay', leaves='measured', totals='totals', parent=['unit_start']) }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    delay_group,
    tows,
    tows_label
from published
