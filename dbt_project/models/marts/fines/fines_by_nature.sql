with measured as (
    select * from {{ ref('int_fines_by_nature_measured') }}
),

totals as (
    select * from {{ ref('int_fines_totals') }}
),

published as (
    {{ publish_fitted('fines_by_nature', leaves='measured', totals='totals', parent=['unit_start', 'area_id']) }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    area_id,
    area_name,
    nature_group,
    fines,
    fines_label
from published
