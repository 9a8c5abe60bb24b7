with fines as (
    select * from {{ ref('int_fines_counted') }}
    where grain = 'month'
),

counted as (
    select
        month_start as period_start,
        zone_key,
        cast(sum(fines) as bigint) as fines
    from fines
    group by month_start, zone_key
),

measured as (
    {{ measure_counts('fines_by_month', counts='counted', count='fines') }}
)

select * from measured
