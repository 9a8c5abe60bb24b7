with measured as (
    select * from {{ ref('int_tows_delay_measured') }}
),

totals as (
    select * from {{ ref('int_tows_totals') }}
),

fitted as (
    {{ fit_to_totals(
        leaves='measured',
        totals='totals',
        parent=['unit_start'],
        order_by=['delay_group']
    ) }}
),

published as (
    {{ publish_counts('tows_delay', cells='fitted', value='fitted', measure='tows') }}
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
