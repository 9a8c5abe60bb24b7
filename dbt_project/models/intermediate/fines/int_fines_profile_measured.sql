with fines as (
    select * from {{ ref('int_fines_counted') }}
    where grain = 'hour_of_week'
),

weekdays as (
    select * from {{ ref('weekdays') }}
),

hours as (
    select * from {{ ref('hours') }}
),

counted as (
    select
        fines.quarter_start as period_start,
        fines.area_id,
        weekdays.day_type,
        coalesce(hours.time_band, 'unknown') as time_band,
        cast(sum(fines.fines) as bigint) as fines
    from fines
    inner join weekdays on fines.iso_weekday = weekdays.iso_weekday
    left join hours on fines.hour = hours.hour
    group by fines.quarter_start, fines.area_id, weekdays.day_type, coalesce(hours.time_band, 'unknown')
),

measured as (
    {{ measure_counts('fines_profile', counts='counted', count='fines') }}
)

select * from measured
