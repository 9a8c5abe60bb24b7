with measured as (
    select * from {{ ref('int_fines_by_nature_measured') }}
),

totals as (
    select * from {{ ref('int_fines_totals') }}
),

fitted as (
    {{ fit_to_totals(
        leaves='measured',
        totals='totals',
        parent=['unit_start', 'area_id'],
        order_by=['nature_group']
    ) }}
),

published as (
    {{ publish_counts('fines_by_nature', cells='fitted', value='fitted', measure='fines') }}
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
