with fines as (
    select * from {{ ref('int_fines_counted') }}
    where grain = 'month'
),

grid as (
    {{ public_grid('fines_by_month', 'verbalisations', 'month', ['zone']) }}
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
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'zone_key'],
        count='fines'
    ) }}
)

select * from measured
