with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'hour'
),

hours as (
    select * from {{ ref('hours') }}
),

grid as (
    {{ public_grid('tows_profile', 'tows', 'quarter', ['event_time_band']) }}
),

counted as (
    select
        tows.quarter_start as period_start,
        coalesce(hours.time_band, 'unknown') as time_band,
        cast(sum(tows.tows) as bigint) as tows
    from tows
    left join hours on tows.hour = hours.hour
    group by tows.quarter_start, coalesce(hours.time_band, 'unknown')
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
