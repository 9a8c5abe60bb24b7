with measured as (
    select * from {{ ref('int_crowd_by_month_measured') }}
),

published as (
    {{ publish_counts('crowd_by_month', cells='measured', value='measured') }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    place_id,
    place_name,
    direction,
    people,
    people_label
from published
