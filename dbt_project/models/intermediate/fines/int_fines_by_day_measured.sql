with fines as (
    select * from {{ ref('int_fines_counted') }}
    where grain = 'day'
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
    {{ measure_counts('fines_by_day', counts='counted', count='fines') }}
)

select * from measured
