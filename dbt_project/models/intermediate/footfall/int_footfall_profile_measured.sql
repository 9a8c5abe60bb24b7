with footfall as (
    select * from {{ ref('int_footfall_placed') }}
),

counted as (
    select
        period_start,
        zone_key,
        iso_weekday,
        hour,
        category,
        cast(sum(people) as bigint) as people_hours
    from (
        select
            quarter_start as period_start,
            iso_weekday,
            hour,
            zone_key,
            category,
            people_over_hidden as people
        from footfall
        union all
        {{ hidden_people(
            periods={'period_start': 'quarter_start', 'iso_weekday': 'iso_weekday', 'hour': 'hour'},
            place='zone_key'
        ) }}
    ) as every_cell
    group by period_start, zone_key, iso_weekday, hour, category
),

measured as (
    {{ measure_counts('footfall_profile', counts='counted', count='people_hours') }}
)

select * from measured
