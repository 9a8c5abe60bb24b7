with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'month'
),

grid as (
    {{ public_grid('tows', 'month', ['area', 'delay_band']) }}
),

counted as (
    select
        month_start as period_start,
        area_id,
        delay_band,
        cast(sum(tows) as bigint) as tows
    from tows
    group by month_start, area_id, delay_band
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'area_id', 'delay_band'],
        measure='tows',
        threshold=var('display_threshold')
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    area_id,
    area_name,
    delay_band,
    tows,
    tows_label
from published
