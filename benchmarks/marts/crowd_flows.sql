-- The family of crowds, by hand. Views: events (conformed rows), places; tables: directions, weekdays, hours,
-- clock; macros: source, threshold, mean_of, mean_label_of.
create table by_hour as
select
    counted.day,
    coalesce(places.place_id, 'unknown') as place_id,
    hour,
    sum(people) as people
from (
    select event_date as day, local_hour as hour, place_id, sum(people) as people from events group by all
) as counted
left join places using (place_id)
group by all;

create table calendar as
select
    cast(day as date) as day,
    cast(date_trunc('month', day) as date) as month,
    cast(date_trunc('quarter', day) as date) as quarter
from (select unnest(generate_series(min(day), max(day), interval 1 day)) as day from by_hour);

create table months as
select quarter, month, max(day) as period_end from calendar group by all
having last_day(month) = max(day);

create table quarters as
select quarter, max(day) as period_end from calendar group by all
having last_day(quarter + interval 2 month) = max(day);

create table crowd_by_day as
select
    quarter as quarter_start, day as period_start, day as period_end, place_id, place_name,
    case when people >= threshold('crowd_by_day') then people end as people,
    case when people >= threshold('crowd_by_day') then null else '<' || threshold('crowd_by_day') end as people_label,
    case when people >= threshold('crowd_by_day') then round(peak, 6) end as peak_density,
    case when people >= threshold('crowd_by_day') then hours_over end as hours_over_threshold
from (
    select
        quarter, day, place_id, place_name,
        cast(greatest(sum(measured), 0) as bigint) as people,
        max(density) as peak,
        cast(sum(case when density > limit_ then 1 when density <= limit_ then 0 end) as bigint) as hours_over
    from (
        select *, greatest(measured, 0) / 4.0 / area_m2 as density
        from (
            select
                quarter, day, place_id, place_name, area_m2, density_threshold as limit_,
                coalesce(people, 0) + noise as measured
            from (
                select
                    quarter, day, unnest(ids) as place_id, unnest(names) as place_name, unnest(hours) as hour,
                    unnest(noise(source('crowd_by_day', day), concat(day, '|'), cells)) as noise
                from calendar
                cross join (
                    select
                        list(place_id order by place_id, hour) as ids,
                        list(place_name order by place_id, hour) as names,
                        list(hour order by place_id, hour) as hours,
                        list(concat_ws('|', place_id, hour) order by place_id, hour) as cells
                    from (select place_id, place_name from places) cross join hours
                )
            )
            left join (select day, place_id, hour, people from by_hour) using (day, place_id, hour)
            left join (select place_id, area_m2, density_threshold from places) using (place_id)
        )
    )
    group by quarter, day, place_id, place_name
);

create table crowd_by_month as
select
    quarter as quarter_start, month as period_start, period_end, place_id, place_name, direction,
    case when people >= threshold('crowd_by_month') then people end as people,
    case when people >= threshold('crowd_by_month') then null else '<' || threshold('crowd_by_month') end as people_label
from (
    select
        quarter, month, period_end, place_id, place_name, direction,
        coalesce(people, 0) + noise_of(source('crowd_by_month', month), concat_ws('|', month, place_id, direction)) as people
    from months
    cross join (select place_id, place_name from places)
    cross join (select direction from directions)
    left join (
        select month, coalesce(places.place_id, 'unknown') as place_id, direction, cast(sum(people) as bigint) as people
        from (
            select cast(date_trunc('month', event_date) as date) as month, place_id, direction, sum(people) as people
            from events group by all
        ) as counted
        left join places using (place_id)
        group by all
    ) using (month, place_id, direction)
);

create table crowd_profile as
select
    quarter as quarter_start, quarter as period_start, period_end, place_id, place_name, iso_weekday, hour,
    round(mean_of('crowd_profile', measured, observed), 1) as mean_people,
    mean_label_of('crowd_profile', measured, observed) as mean_people_label,
    round(mean_of('crowd_profile', measured, observed) / 4 / area_m2, 6) as mean_density
from (
    select *, coalesce(people, 0) + noise as measured
    from (
        select
            quarter, period_end, place_id, place_name, iso_weekday, cast(unnest(hours) as integer) as hour,
            unnest(noise(source('crowd_profile', quarter), concat(quarter, '|', place_id, '|', iso_weekday, '|'), hours)) as noise
        from quarters
        cross join (select place_id, place_name from places)
        cross join (select iso_weekday from weekdays)
        cross join (select list(cast(hour as varchar)) as hours from hours)
    )
    left join (
        select
            cast(date_trunc('quarter', day) as date) as quarter, place_id, isodow(day) as iso_weekday, hour,
            cast(sum(people) as bigint) as people
        from by_hour group by all
    ) using (quarter, place_id, iso_weekday, hour)
    left join (
        select cast(date_trunc('quarter', day) as date) as quarter, isodow(day) as iso_weekday, hour, sum(hours) as observed
        from clock group by all
    ) using (quarter, iso_weekday, hour)
    left join (select place_id, area_m2 from places) using (place_id)
);
