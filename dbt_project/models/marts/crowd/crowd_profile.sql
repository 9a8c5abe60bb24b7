with measured as (
    select * from {{ ref('int_crowd_profile_measured') }}
),

covered as (
    {{ covered_hours(
        'crowd_flows',
        {'period_start': 'quarter_start', 'iso_weekday': 'iso_weekday', 'hour': 'hour'}
    ) }}
),

places as (
    select * from {{ ref('stg_reference__places') }}
),

averaged as (
    select
        measured.*,
        places.area_m2,
        covered.hours
    from measured
    inner join places on measured.place_id = places.place_id
    left join covered
        on
            measured.period_start = covered.period_start
            and measured.iso_weekday = covered.iso_weekday
            and measured.hour = covered.hour
),

published as (
    {{ publish_counts(
        'crowd_profile',
        cells='averaged',
        value='measured',
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
