with footfall as (
    select * from {{ ref('int_footfall_placed') }}
),

grid as (
    {{ public_grid('footfall_by_month', 'telecom_footfall', 'month', ['zone', 'time_band', 'category']) }}
),

counted as (
    select
        month_start as period_start,
        zone_key,
        time_band,
        category,
        cast(sum(people) as bigint) as people_hours
    from footfall
    group by month_start, zone_key, time_band, category
),

measured as (
    {{ measure_counts(
        grid='grid',
        counts='counted',
        keys=['period_start', 'zone_key', 'time_band', 'category'],
        count='people_hours'
    ) }}
)

select * from measured
