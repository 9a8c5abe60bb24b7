with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'reason'
),

grid as (
    {{ public_grid('tows_by_month', 'tows', 'month', []) }}
),

counted as (
    select
        month_start as period_start,
        cast(sum(tows) as bigint) as tows
    from tows
    group by month_start
),

measured as (
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start'],
        count='tows'
    ) }}
)

select * from measured
