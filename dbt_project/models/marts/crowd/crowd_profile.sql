with intervals as (
    select * from {{ ref('int_crowd_intervals') }}
),

grid as (
    {{ public_grid('crowd_flows', 'quarter', ['place', 'weekday', 'hour']) }}
),

summed as (
    select
        quarter_start as period_start,
        place_id,
        iso_weekday,
        hour,
        sum(people) as people,
        sum(minutes) as minutes,
        sum(density * minutes) as density_minutes,
        sum(case when density is not null then minutes end) as measured_minutes,
        sum(case when is_over_threshold then minutes when not is_over_threshold then 0 end) as minutes_over,
        sum(case when is_over_threshold is not null then minutes end) as judged_minutes
    from intervals
    group by quarter_start, place_id, iso_weekday, hour
),

averaged as (
    select
        period_start,
        place_id,
        iso_weekday,
        hour,
        people * 60.0 / minutes as mean_people,
        cast(density_minutes as double) / measured_minutes as mean_density,
        cast(minutes_over as double) / judged_minutes as share_over_threshold
    from summed
),

published as (
    {{ publish_counts(
        grid='grid',
        counts='averaged',
        keys=['period_start', 'place_id', 'iso_weekday', 'hour'],
        measure='mean_people',
        threshold=var('display_threshold'),
        companions=['mean_density', 'share_over_threshold']
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    place_id,
    place_name,
    iso_weekday,
    hour,
    cast(round(mean_people, 1) as double) as mean_people,
    mean_people_label,
    round(mean_density, 6) as mean_density,
    round(share_over_threshold, 4) as share_over_threshold
from published
