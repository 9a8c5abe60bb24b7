with footfall as (
    select * from {{ ref('int_footfall_placed') }}
),

grid as (
    {{ public_grid('footfall_by_day', 'telecom_footfall', 'day', ['area', 'category']) }}
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
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'area_id', 'category'],
        count='people_hours'
    ) }}
)

select * from measured
