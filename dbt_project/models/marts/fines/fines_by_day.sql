with fines as (
    select * from {{ ref('int_fines_daily') }}
),

grid as (
    {{ public_grid('verbalisations', 'day', ['area']) }}
),

counted as (
    select
        event_date as period_start,
        area_id,
        cast(sum(fines) as bigint) as fines
    from fines
    group by event_date, area_id
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
