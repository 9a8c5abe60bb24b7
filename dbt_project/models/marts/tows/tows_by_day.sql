with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'day'
),

grid as (
    {{ public_grid('tows', 'day', ['area']) }}
),

counted as (
    select
        day as period_start,
        area_id,
        cast(sum(tows) as bigint) as tows
    from tows
    group by day, area_id
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'area_id'],
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
    tows,
    tows_label
from published
