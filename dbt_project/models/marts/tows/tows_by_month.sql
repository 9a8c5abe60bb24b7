with measured as (
    select * from {{ ref('int_tows_by_month_measured') }}
),

totals as (
    select * from {{ ref('int_tows_month_totals') }}
),

fitted as (
    {{ fit_to_totals(
        leaves='measured',
        totals='totals',
        parent=['unit_start'],
        order_by=['period_start']
    ) }}
),

published as (
    {{ publish_counts('tows_by_month', cells='fitted', value='fitted', measure='tows') }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    tows,
    tows_label
from published
