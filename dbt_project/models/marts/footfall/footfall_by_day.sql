with measured as (
    select * from {{ ref('int_footfall_by_day_measured') }}
),

hours as (
    select * from {{ ref('int_footfall_hours') }}
),

observed as (
    -- The hours for which the operator delivered anything: a fact about the operator.
    select
        day as period_start,
        sum(hours_observed) as hours_observed
    from hours
    group by day
),

averaged as (
    select
        measured.*,
        observed.hours_observed
    from measured
    left join observed on measured.period_start = observed.period_start
),

published as (
    {{ publish_counts(
        'footfall_by_day',
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
    area_id,
    area_name,
    category,
    round(mean_people, 1) as mean_people,
    mean_people_label
from published
