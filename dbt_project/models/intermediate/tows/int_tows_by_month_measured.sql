with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'reason'
),

counted as (
    select
        month_start as period_start,
        cast(sum(tows) as bigint) as tows
    from tows
    group by month_start
),

measured as (
    {{ measure_counts('tows_by_month', counts='counted', count='tows') }}
)

select * from measured
