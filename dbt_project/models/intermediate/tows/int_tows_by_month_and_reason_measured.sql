with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'reason'
),

reasons as (
    select * from {{ ref('tow_reasons') }}
),

grid as (
    {{ public_grid('tows_by_month_and_reason', 'tows', 'month', ['reason_group']) }}
),

counted as (
    select
        tows.month_start as period_start,
        reasons.reason_group,
        cast(sum(tows.tows) as bigint) as tows
    from tows
    inner join reasons on tows.reason = reasons.reason
    group by tows.month_start, reasons.reason_group
),

measured as (
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'reason_group'],
        count='tows'
    ) }}
)

select * from measured
