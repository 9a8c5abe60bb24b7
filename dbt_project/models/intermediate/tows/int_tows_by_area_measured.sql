with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'zone'
),

grid as (
    {{ public_grid('tows_by_area', 'tows', 'quarter', ['area']) }}
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
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'area_id'],
        count='tows'
    ) }}
)

select * from measured
