-- The family of footfall, by hand. Views: events (conformed rows), zones; tables: footfall_categories, weekdays, hours.
create table summed as
select
    event_date as day,
    cast(date_trunc('month', event_date) as date) as month,
    cast(date_trunc('quarter', event_date) as date) as quarter,
    isodow(event_date) as weekday,
    local_hour as hour,
    zone_id,
    category,
    sum(people) as people
from events
group by grouping sets (
    (day, zone_id, category), (month, hour, zone_id, category), (quarter, weekday, hour, zone_id, category)
);

create table instants as
select event_date as day, local_hour as hour, count(distinct starts_at) as observed from events group by all;

create table calendar as
select
    cast(day as date) as day,
    cast(date_trunc('month', day) as date) as month,
    cast(date_trunc('quarter', day) as date) as quarter
from (select unnest(generate_series(min(day), max(day), interval 1 day)) as day from instants);

create table footfall_by_day as
select
    quarter as quarter_start, day as period_start, day as period_end, area_id, area_name, category,
    case when mean_people >= 20 then round(mean_people, 1) end as mean_people,
    case when mean_people >= 20 then null else '<20' end as mean_people_label
from calendar
cross join (select distinct area_id, area_name from zones)
cross join (select category from footfall_categories)
left join (
    select day, area_id, category, total / observed as mean_people
    from (
        select day, area_id, category, sum(people) as total
        from summed join zones using (zone_id) where day is not null group by all
    )
    join (select day, sum(observed) as observed from instants group by all) using (day)
) using (day, area_id, category);

create table footfall_by_month as
select
    quarter as quarter_start, month as period_start, period_end, zone_id, zone_name, time_band, category,
    case when mean_people >= 20 then round(mean_people, 1) end as mean_people,
    case when mean_people >= 20 then null else '<20' end as mean_people_label
from (select quarter, month, max(day) as period_end from calendar group by all)
cross join (select distinct published_zone_id as zone_id, published_zone_name as zone_name from zones)
cross join (select distinct time_band from hours)
cross join (select category from footfall_categories)
left join (
    select month, zone_id, time_band, category, total / observed as mean_people
    from (
        select month, published_zone_id as zone_id, time_band, category, sum(people) as total
        from summed join zones using (zone_id) join hours using (hour) where month is not null group by all
    )
    join (
        select cast(date_trunc('month', day) as date) as month, time_band, sum(observed) as observed
        from instants join hours using (hour) group by all
    ) using (month, time_band)
) using (month, zone_id, time_band, category);

create table footfall_profile as
select
    quarter as quarter_start, quarter as period_start, period_end, zone_id, zone_name, iso_weekday, hour, category,
    case when mean_people >= 20 then round(mean_people, 1) end as mean_people,
    case when mean_people >= 20 then null else '<20' end as mean_people_label
from (select quarter, max(day) as period_end from calendar group by all)
cross join (select distinct published_zone_id as zone_id, published_zone_name as zone_name from zones)
cross join (select iso_weekday from weekdays)
cross join (select hour from hours)
cross join (select category from footfall_categories)
left join (
    select quarter, zone_id, iso_weekday, hour, category, total / observed as mean_people
    from (
        select quarter, published_zone_id as zone_id, weekday as iso_weekday, hour, category, sum(people) as total
        from summed join zones using (zone_id) where quarter is not null group by all
    )
    join (
        select
            cast(date_trunc('quarter', day) as date) as quarter, isodow(day) as iso_weekday, hour,
            sum(observed) as observed
        from instants group by all
    ) using (quarter, iso_weekday, hour)
) using (quarter, zone_id, iso_weekday, hour, category);
