with measured as (
    select * from {{ ref('int_footfall_by_day_measured') }}
),

covered as (
    {{ covered_hours('telecom_footfall', {'period_start': 'day'}) }}
),

averaged as (
    select
        measured.*,
        covered.hours
    from measured
    left join covered on measured.period_start = covered.period_start
),

published as (
    {{ publish_counts(
        'footfall_by_day',
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
    area_id,
    area_name,
    category,
    round(mean_people, 1) as mean_people,
    mean_people_label
from published
