with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'month'
),

grid as (
    {{ public_grid('tows', 'month', ['zone', 'reason']) }}
),

counted as (
    select
        month_start as period_start,
        zone_id,
        reason,
        cast(sum(tows) as bigint) as tows
    from tows
    group by month_start, zone_id, reason
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'zone_id', 'reason'],
        measure='tows',
        threshold=var('display_threshold')
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    zone_id,
    zone_name,
    reason,
    tows,
    tows_label
from published
