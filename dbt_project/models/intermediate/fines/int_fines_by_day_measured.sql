with fines as (
    select * from {{ ref('int_fines_counted') }}
    where grain = 'day'
),

grid as (
    {{ public_grid('fines_by_day', 'verbalisations', 'day', ['area']) }}
),

counted as (
    select
        day as period_start,
        area_id,
        cast(sum(fines) as bigint) as fines
    from fines
    group by day, area_id
),

measured as (
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'area_id'],
        count='fines'
    ) }}
)

select * from measured
