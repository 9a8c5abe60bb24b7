with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'hour_of_week'
),

grid as (
    {{ public_grid('tows', 'quarter', ['area', 'weekday', 'hour']) }}
),

counted as (
    select
        quarter_start as period_start,
        area_id,
        iso_weekday,
        hour,
        cast(sum(tows) as bigint) as tows
    from tows
    group by quarter_start, area_id, iso_weekday, hour
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'area_id', 'iso_weekday', 'hour'],
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
    iso_weekday,
    hour,
    tows,
    tows_label
from published
