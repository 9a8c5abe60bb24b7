-- The family of crowds, by hand. Views: events (conformed rows), places; tables: directions, weekdays, hours.
create table intervals as
select
    day,
    coalesce(places.place_id, 'unknown') as place_id,
    hour,
    minutes,
    cast(people as bigint) as people,
    cast(people * 15.0 / minutes / coalesce(counted.area_m2, places.area_m2) as decimal(18, 6)) as density,
    density > places.density_threshold as is_over
from (
    -- An instant has one local day and hour.
    select
        place_id,
        any_value(event_date) as day,
        any_value(local_hour) as hour,
        max(duration_minutes) as minutes,
        max(area_m2) as area_m2,
        sum(people) as people
    from events
    group by place_id, starts_at
) as counted
left join places using (place_id);

create table calendar as
select
    cast(day as date) as day,
    cast(date_trunc('month', day) as date) as month,
    cast(date_trunc('quarter', day) as date) as quarter
from (select unnest(generate_series(min(day), max(day), interval 1 day)) as day from intervals);

create table crowd_by_day as
select
    quarter as quarter_start, day as period_start, day as period_end, place_id, place_name,
    case when people >= 11 then people end as people,
    case when people >= 11 then null else '<11' end as people_label,
    case when people >= 11 then peak_density end as peak_density,
    case when people >= 11 then quarter_hours end as quarter_hours_over_threshold
from calendar
cross join (select place_id, place_name from places)
left join (
    select
        day, place_id,
        cast(sum(people) as bigint) as people,
        cast(max(density) as double) as peak_density,
        cast(sum(case when is_over then minutes when not is_over then 0 end) / 15 as bigint) as quarter_hours
    from intervals group by day, place_id
) using (day, place_id);

create table crowd_by_month as
select
    quarter as quarter_start, month as period_start, period_end, place_id, place_name, direction,
    case when people >= 11 then people end as people,
    case when people >= 11 then null else '<11' end as people_label
from (select quarter, month, max(day) as period_end from calendar group by all)
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
) using (month, place_id, direction);

create table crowd_profile as
select
    quarter as quarter_start, quarter as period_start, period_end, place_id, place_name, iso_weekday, hour,
    case when mean_people >= 11 then cast(round(mean_people, 1) as double) end as mean_people,
    case when mean_people >= 11 then null else '<11' end as mean_people_label,
    case when mean_people >= 11 then round(mean_density, 6) end as mean_density,
    case when mean_people >= 11 then round(share_over_threshold, 4) end as share_over_threshold
from (select quarter, max(day) as period_end from calendar group by all)
cross join (select place_id, place_name from places)
cross join (select iso_weekday from weekdays)
cross join (select hour from hours)
left join (
    select
        cast(date_trunc('quarter', day) as date) as quarter, place_id, isodow(day) as iso_weekday, hour,
        sum(people) * 60.0 / sum(minutes) as mean_people,
        cast(sum(density * minutes) as double)
            / sum(case when density is not null then minutes end) as mean_density,
        cast(sum(case when is_over then minutes when not is_over then 0 end) as double)
            / sum(case when is_over is not null then minutes end) as share_over_threshold
    from intervals group by all
) using (quarter, place_id, iso_weekday, hour);
