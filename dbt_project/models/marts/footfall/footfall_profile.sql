with measured as (
    select * from {{ ref('int_footfall_profile_measured') }}
),

covered as (
    {{ covered_hours(
        'telecom_footfall',
        {'period_start': 'quarter_start', 'iso_weekday': 'iso_weekday', 'hour': 'hour'}
    ) }}
),

averaged as (
    select
        measured.*,
        covered.hours
    from measured
    left join covered
        on
            measured.period_start = covered.period_start
            and measured.iso_weekday = covered.iso_weekday
            and measured.hour = covered.hour
),

published as (
    {{ publish_counts(
        'footfall_profile',
        cells='averaged',
        value='measured',
        hours='hours'
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
