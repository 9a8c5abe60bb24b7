with measured as (
    select * from {{ ref('int_fines_by_month_measured') }}
),

totals as (
    select * from {{ ref('int_fines_totals') }}
),

fitted as (
    {{ fit_to_totals(
        leaves='measured',
        totals='totals',
        parent=['unit_start', 'area_id'],
        order_by=['zone_id']
    ) }}
),

published as (
    {{ publish_counts('fines_by_month', cells='fitted', value='fitted', measure='fines') }}
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
