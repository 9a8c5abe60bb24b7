with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'reason'
),

reasons as (
    select * from {{ ref('tow_reasons') }}
),

counted as (
    select
        tows.quarter_start as period_start,
        reasons.reason_group,
        cast(sum(tows.tows) as bigint) as tows
    from tows
    inner join reasons on tows.reason = reasons.reason
    group by tows.quarter_start, reasons.reason_group
),

measured as (
    {{ measure_counts('tows_by_reason', counts='counted', count='tows') }}
)

select * from measured
