with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'zone'
),

counted as (
    select
        quarter_start as period_start,
        area_id,
        cast(sum(tows) as bigint) as tows
    from tows
    group by quarter_start, area_id
),

measured as (
    {{ measure_counts('tows_by_area', counts='counted', count='tows') }}
)

select * from measured
