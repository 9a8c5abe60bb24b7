with measured as (
    select * from {{ ref('int_crowd_by_day_measured') }}
),

places as (
    select * from {{ ref('stg_reference__places') }}
),

dense as (
    select
        measured.*,
        places.density_threshold,
        -- People per square metre and quarter of an hour, as an hour's mean.
        greatest(measured.measured, 0) / 4.0 / places.area_m2 as density
    from measured
    inner join places on measured.place_id = places.place_id
),

days as (
    select
        quarter_start,
        period_start,
        period_end,
        days_covered,
        days_in_period,
        place_id,
        place_name,
        cast(greatest(sum(measured), 0) as bigint) as measured,
        max(density) as peak_density,
        cast(sum(case when density > density_threshold then 1 when density <= density_threshold then 0 end) as bigint)
            as hours_over_threshold
    from dense
    group by quarter_start, period_start, period_end, days_covered, days_in_period, place_id, place_name
),

published as (
    {{ publish_counts(
        'crowd_by_day',
        cells='days',
        value='measured',
        companions={'density': 'round(peak_density, 6)', 'hours_over': 'hours_over_threshold'}
    ) }}
)

select
    quarter_start,
    period_start,
    period_end,
    days_covered,
    days_in_period,
    place_id,
    place_name,
    people,
    people_label,
    density as peak_density,
    hours_over as hours_over_threshold
from published
