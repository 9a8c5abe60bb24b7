with measured as (
    select * from {{ ref('int_fines_by_day_measured') }}
),

totals as (
    select * from {{ ref('int_fines_totals') }}
),

fitted as (
    {{ fit_to_totals(
        leaves='measured',
        totals='totals',
        parent=['unit_start', 'area_id'],
        order_by=['period_start']
    ) }}
),

published as (
    {{ publish_counts('fines_by_day', cells='fitted', value='fitted', measure='fines') }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    area_id,
    area_name,
    fines,
    fines_label
from published
