with fines as (
    select * from {{ ref('int_fines_counted') }}
    where grain = 'month'
),

grid as (
    {{ public_grid('verbalisations', 'month', ['zone', 'nature']) }}
),

counted as (
    select
        month_start as period_start,
        zone_id,
        nature,
        cast(sum(fines) as bigint) as fines
    from fines
    group by month_start, zone_id, nature
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'zone_id', 'nature'],
        measure='fines',
        threshold=var('display_threshold')
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    zone_id,
    zone_name,
    nature,
    fines,
    fines_label
from published
