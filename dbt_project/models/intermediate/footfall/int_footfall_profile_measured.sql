with footfall as (
    select * from {{ ref('int_footfall_placed') }}
),

grid as (
    {{ public_grid('footfall_profile', 'telecom_footfall', 'quarter', ['zone', 'weekday', 'hour', 'category']) }}
),

counted as (
    select
        quarter_start as period_start,
        zone_key,
        iso_weekday,
        hour,
        category,
        cast(sum(people) as bigint) as people_hours
    from footfall
    group by quarter_start, zone_key, iso_weekday, hour, category
),

measured as (
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'zone_key', 'iso_weekday', 'hour', 'category'],
        count='people_hours'
    ) }}
)

select * from measured
