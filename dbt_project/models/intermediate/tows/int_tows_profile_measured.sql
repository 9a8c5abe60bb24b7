with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'hour'
),

hours as (
    select * from {{ ref('hours') }}
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
    {{ measure_counts('tows_profile', counts='counted', count='tows') }}
)

select * from measured
