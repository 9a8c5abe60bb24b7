with fines as (
    select * from {{ ref('int_fines_counted') }}
    where grain = 'hour_of_week'
),

grid as (
    {{ public_grid('verbalisations', 'quarter', ['zone', 'weekday', 'hour']) }}
),

counted as (
    select
        quarter_start as period_start,
        zone_id,
        iso_weekday,
        hour,
        cast(sum(fines) as bigint) as fines
    from fines
    group by quarter_start, zone_id, iso_weekday, hour
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'zone_id', 'iso_weekday', 'hour'],
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
    iso_weekday,
    hour,
    fines,
    fines_label
from published
