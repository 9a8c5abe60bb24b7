with measured as (
    select * from {{ ref('int_footfall_by_month_measured') }}
),

hours as (
    select * from {{ ref('int_footfall_hours') }}
),

observed as (
    -- The hours for which the operator delivered anything: a fact about the operator.
    select
        month_start as period_start,
        time_band,
        sum(hours_observed) as hours_observed
    from hours
    group by month_start, time_band
),

averaged as (
    select
        measured.*,
        observed.hours_observed
    from measured
    left join observed
        on
            measured.period_start = observed.period_start
            and measured.time_band = observed.time_band
),

published as (
    {{ publish_counts(
        'footfall_by_month',
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
    time_band,
    category,
    round(mean_people, 1) as mean_people,
    mean_people_label
from published
