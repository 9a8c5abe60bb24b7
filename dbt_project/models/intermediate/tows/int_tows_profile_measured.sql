with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'hour'
),

hours as (
    select * from {{ ref('hours') }}
),

grid as (
    {{ public_grid('tows_profile', 'tows', 'quarter', ['time_band']) }}
),

counted as (
    select
        tows.quarter_start as period_start,
        hours.time_band,
        cast(sum(tows.tows) as bigint) as tows
    from tows
    inner join hours on tows.hour = hours.hour
    group by tows.quarter_start, hours.time_band
),

measured as (
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'time_band'],
        count='tows'
    ) }}
)

select * from measured
