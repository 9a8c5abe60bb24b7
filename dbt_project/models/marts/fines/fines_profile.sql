with measured as (
    select * from {{ ref('int_fines_profile_measured') }}
),

totals as (
    select * from {{ ref('int_fines_quarter_totals') }}
),

published as (
    {{ publish_fitted('fines_profile', leaves='measured', totals='totals', parent=['unit_start', 'area_id']) }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    area_id,
    area_name,
    day_type,
    time_band,
    fines,
    fines_label
from published
