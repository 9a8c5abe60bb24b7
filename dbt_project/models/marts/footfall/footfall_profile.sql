with measured as (
    select * from {{ ref('int_footfall_profile_measured') }}
),

hours as (
    select * from {{ ref('int_footfall_hours') }}
),

observed as (
    -- The hours for which the operator delivered anything: a fact about the operator.
    select
        quarter_start as period_start,
        iso_weekday,
        hour,
        sum(hours_observed) as hours_observed
    from hours
    group by quarter_start, iso_weekday, hour
),

averaged as (
    select
        measured.*,
        observed.hours_observed
    from measured
    left join observed
        on
            measured.period_start = observed.period_start
            and measured.iso_weekday = observed.iso_weekday
            and measured.hour = observed.hour
),

published as (
    {{ publish_counts(
        'footfall_profile',
        cells='averaged',
        value='measured',
        measure='mean_people',
        hours='hours_observed'
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    zone_id,
    zone_name,
    iso_weekday,
    hour,
    category,
    round(mean_people, 1) as mean_people,
    mean_people_label
from published
