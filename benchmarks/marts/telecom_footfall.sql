-- The family of footfall, by hand. Views: events (conformed rows), zones; tables: footfall_categories, weekdays, hours;
-- and clock; macros: source, mean_of, mean_label_of, hidden.
create table summed as
select
    event_date as day,
    cast(date_trunc('month', event_date) as date) as month,
    cast(date_trunc('quarter', event_date) as date) as quarter,
    isodow(event_date) as weekday,
    local_hour as hour,
    zone_id,
    category,
    sum(greatest(cast(round(people) as bigint) - hidden(), 0)) as people
from events
group by grouping sets (
    (day, zone_id, category), (month, hour, zone_id, category), (quarter, weekday, hour, zone_id, category)
);

create table calendar as
select
    cast(day as date) as day,
    cast(date_trunc('month', day) as date) as month,
    cast(date_trunc('quarter', day) as date) as quarter
from (select unnest(generate_series(min(day), max(day), interval 1 day)) as day from (select distinct day from summed where day is not null));

create table months as
select quarter, month, max(day) as period_end from calendar group by all
having last_day(month) = max(day);

create table quarters as
select quarter, max(day) as period_end from calendar group by all
having last_day(quarter + interval 2 month) = max(day);

create table footfall_by_day as
select
    quarter as quarter_start, day as period_start, day as period_end, area_id, area_name, category,
    round(mean_of('footfall_by_day', measured, observed), 1) as mean_people,
    mean_label_of('footfall_by_day', measured, observed) as mean_people_label
from (
    select *, coalesce(people, 0) + hidden() * observed * coalesce(delivered, 0) + noise as measured
    from (
        select
            quarter, day, unnest(ids) as area_id, unnest(names) as area_name, unnest(categories) as category,
            unnest(noise(source('footfall_by_day', day), concat(day, '|'), cells)) as noise
        from calendar
        cross join (
            select
                list(area_id order by area_id, category) as ids,
                list(area_name order by area_id, category) as names,
                list(category order by area_id, category) as categories,
                list(concat_ws('|', area_id, category) order by area_id, category) as cells
            from (select distinct area_id, area_name from zones) cross join footfall_categories
        )
    )
    left join (
        select day, area_id, category, sum(people) as people
        from summed join zones using (zone_id) where day is not null group by all
    ) using (day, area_id, category)
    left join (
        select area_id, count(*) as delivered from zones where zone_id <> 'unknown' group by all
    ) using (area_id)
    left join (
        select day, sum(hours) as observed from clock group by all
    ) using (day)
);

create table footfall_by_month as
select
    quarter as quarter_start, month as period_start, period_end as period_end, zone_id, zone_name, time_band, category,
    round(mean_of('footfall_by_month', measured, observed), 1) as mean_people,
    mean_label_of('footfall_by_month', measured, observed) as mean_people_label
from (
    select *, coalesce(people, 0) + hidden() * observed * coalesce(delivered, 0) + noise as measured
    from (
        select
            quarter, month, period_end, zone_id, zone_name, unnest(bands) as time_band, unnest(categories) as category,
            unnest(noise(source('footfall_by_month', month), concat(month, '|', zone_id, '|'), cells)) as noise
        from months
        cross join (select distinct published_zone_id as zone_id, published_zone_name as zone_name from zones)
        cross join (
            select
                list(time_band order by time_band, category) as bands,
                list(category order by time_band, category) as categories,
                list(concat_ws('|', time_band, category) order by time_band, category) as cells
            from (select distinct time_band from hours) cross join footfall_categories
        )
    )
    left join (
        select month, published_zone_id as zone_id, time_band, category, sum(people) as people
        from summed join zones using (zone_id) join hours using (hour) where month is not null group by all
    ) using (month, zone_id, time_band, category)
    left join (
        select published_zone_id as zone_id, count(*) as delivered from zones where zone_id <> 'unknown' group by all
    ) using (zone_id)
    left join (
        select cast(date_trunc('month', day) as date) as month, time_band, sum(clock.hours) as observed
        from clock join hours using (hour) group by all
    ) using (month, time_band)
);

create table footfall_profile as
select
    quarter as quarter_start, quarter as period_start, period_end as period_end, zone_id, zone_name, iso_weekday, hour, category,
    round(mean_of('footfall_profile', measured, observed), 1) as mean_people,
    mean_label_of('footfall_profile', measured, observed) as mean_people_label
from (
    select *, coalesce(people, 0) + hidden() * observed * coalesce(delivered, 0) + noise as measured
    from (
        select
            quarter, period_end, zone_id, zone_name, iso_weekday, unnest(hours) as hour, unnest(categories) as category,
            unnest(
                noise(source('footfall_profile', quarter), concat(quarter, '|', zone_id, '|', iso_weekday, '|'), cells)
            ) as noise
        from quarters
        cross join (select distinct published_zone_id as zone_id, published_zone_name as zone_name from zones)
        cross join (select iso_weekday from weekdays)
        cross join (
            select
                list(hour order by hour, category) as hours,
                list(category order by hour, category) as categories,
                list(concat_ws('|', hour, category) order by hour, category) as cells
            from hours cross join footfall_categories
        )
    )
    left join (
        select quarter, published_zone_id as zone_id, weekday as iso_weekday, hour, category, sum(people) as people
        from summed join zones using (zone_id) where quarter is not null group by all
    ) using (quarter, zone_id, iso_weekday, hour, category)
    left join (
        select published_zone_id as zone_id, count(*) as delivered from zones where zone_id <> 'unknown' group by all
    ) using (zone_id)
    left join (
        select
            cast(date_trunc('quarter', day) as date) as quarter, isodow(day) as iso_weekday, hour,
            sum(hours) as observed
        from clock group by all
    ) using (quarter, iso_weekday, hour)
);
