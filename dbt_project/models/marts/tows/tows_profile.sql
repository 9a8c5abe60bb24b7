with measured as (
    select * from {{ ref('int_tows_profile_measured') }}
),

totals as (
    select * from {{ ref('int_tows_totals') }}
),

fitted as (
    {{ fit_to_totals(
        leaves='measured',
        totals='totals',
        parent=['unit_start'],
        order_by=['time_band']
    ) }}
),

published as (
    {{ publish_counts('tows_profile', cells='fitted', value='fitted', measure='tows') }}
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
