with footfall as (
    select * from {{ ref('int_footfall_placed') }}
),

counted as (
    select
        period_start,
        zone_key,
        time_band,
        category,
        cast(sum(people) as bigint) as people_hours
    from (
        select
            month_start as period_start,
            time_band,
            zone_key,
            category,
            people_over_hidden as people
        from footfall
        union all
        {{ hidden_people(periods={'period_start': 'month_start', 'time_band': 'time_band'}, place='zone_key') }}
    ) as every_cell
    group by period_start, zone_key, time_band, category
),

measured as (
    {{ measure_counts('footfall_by_month', counts='counted', count='people_hours') }}
)

select * from measured
