with measured as (
    select * from {{ ref('int_footfall_by_month_measured') }}
),

covered as (
    {{ covered_hours('telecom_footfall', {'period_start': 'month_start', 'time_band': 'time_band'}) }}
),

averaged as (
    select
        measured.*,
        covered.hours
    from measured
    left join covered
        on
            measured.period_start = covered.period_start
            and measured.time_band = covered.time_band
),

published as (
    {{ publish_counts(
        'footfall_by_month',
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
    time_band,
    category,
    round(mean_people, 1) as mean_people,
    mean_people_label
from published
