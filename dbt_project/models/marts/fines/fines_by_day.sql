with fines as (
    select * from {{ ref('int_fines_counted') }}
    where grain = 'day'
),

grid as (
    {{ public_grid('verbalisations', 'day', ['area']) }}
),

counted as (
    select
        day as period_start,
        area_id,
        cast(sum(fines) as bigint) as fines
    from fines
    group by day, area_id
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'area_id'],
        measure='fines',
        threshold=var('display_threshold')
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    area_id,
    area_name,
    fines,
    fines_label
from published
