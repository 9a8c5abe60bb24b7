with measured as (
    select * from {{ ref('int_fines_profile_measured') }}
),

totals as (
    select * from {{ ref('int_fines_quarter_totals') }}
),

fitted as (
    {{ fit_to_totals(
        leaves='measured',
        totals='totals',
        parent=['unit_start', 'area_id'],
        order_by=['day_type', 'time_band']
    ) }}
),

published as (
    {{ publish_counts('fines_profile', cells='fitted', value='fitted', measure='fines') }}
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
