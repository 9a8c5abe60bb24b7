with footfall as (
    select * from {{ ref('int_footfall_placed') }}
),

counted as (
    select
        period_start,
        area_id,
        category,
        cast(sum(people) as bigint) as people_hours
    from (
        select
            day as period_start,
            area_id,
            category,
            people_over_hidden as people
        from footfall
        union all
        {{ hidden_people(periods={'period_start': 'day'}, place='area_id') }}
    ) as every_cell
    group by period_start, area_id, category
),

measured as (
    {{ measure_counts('footfall_by_day', counts='counted', count='people_hours') }}
)

select * from measured
