with measured as (
    select * from {{ ref('int_tows_profile_measured') }}
),

totals as (
    select * from {{ ref('int_tows_totals') }}
),

published as (
    {{ publish_fitted('tows_profile', leaves='measured', totals='totals', parent=['unit_start']) }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    time_band,
    tows,
    tows_label
from published
