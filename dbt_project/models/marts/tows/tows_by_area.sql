with measured as (
    select * from {{ ref('int_tows_by_area_measured') }}
),

totals as (
    select * from {{ ref('int_tows_totals') }}
),

fitted as (
    {{ fit_to_totals(
        leaves='measured',
        totals='totals',
        parent=['unit_start'],
        order_by=['area_id']
    ) }}
),

published as (
    {{ publish_counts('tows_by_area', cells='fitted', value='fitted', measure='tows') }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    area_id,
    area_name,
    tows,
    tows_label
from published
