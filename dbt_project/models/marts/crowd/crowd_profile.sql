with measured as (
    select * from {{ ref('int_crowd_profile_measured') }}
),

hours as (
    select * from {{ ref('int_crowd_hours') }}
),

counters as (
    -- How long each counter was at work: facts about counters, not about who passed them.
    select
        quarter_start as period_start,
        place_id,
        iso_weekday,
        hour,
        sum(minutes) as minutes,
        max(area_m2) as area_m2
    from hours
    group by quarter_start, place_id, iso_weekday, hour
),

averaged as (
    select
        measured.*,
        counters.area_m2,
        cast(counters.minutes as double) / 60 as hours
    from measured
    left join counters
        on
            measured.period_start = counters.period_start
            and measured.place_id = counters.place_id
            and measured.iso_weekday = counters.iso_weekday
            and measured.hour = counters.hour
),

published as (
    {{ publish_counts(
        'crowd_profile',
        cells='averaged',
        value='measured',
        measure='mean_people',
        hours='hours',
        companions={'mean_density': 'round(measured / hours / 4 / area_m2, 6)'}
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    place_id,
    place_name,
    iso_weekday,
    hour,
    round(mean_people, 1) as mean_people,
    mean_people_label,
    mean_density
from published
