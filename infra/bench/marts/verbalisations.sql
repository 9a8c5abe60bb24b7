-- The family of fines, by hand. Views: events (conformed rows), zones; tables: natures, weekdays, hours.
create table counted as
select
    event_date as day,
    cast(date_trunc('month', event_date) as date) as month,
    cast(date_trunc('quarter', event_date) as date) as quarter,
    isodow(event_date) as weekday,
    local_hour as hour,
    zone_id,
    nature,
    count(*) as fines
from events
group by grouping sets ((day, zone_id), (month, zone_id, nature), (quarter, weekday, hour, zone_id));

create table calendar as
select
    cast(day as date) as day,
    cast(date_trunc('month', day) as date) as month,
    cast(date_trunc('quarter', day) as date) as quarter
from (select unnest(generate_series(min(day), max(day), interval 1 day)) as day from counted);

create table fines_by_day as
select
    quarter as quarter_start, day as period_start, day as period_end, area_id, area_name,
    case when fines >= 11 then fines end as fines,
    case when fines >= 11 then null else '<11' end as fines_label
from calendar
cross join (select distinct area_id, area_name from zones)
left join (
    select day, area_id, cast(sum(fines) as bigint) as fines
    from counted join zones using (zone_id) where day is not null group by all
) using (day, area_id);

create table fines_by_month as
select
    quarter as quarter_start, month as period_start, period_end, zone_id, zone_name, nature,
    case when fines >= 11 then fines end as fines,
    case when fines >= 11 then null else '<11' end as fines_label
from (select quarter, month, max(day) as period_end from calendar group by all)
cross join (select distinct published_zone_id as zone_id, published_zone_name as zone_name from zones)
cross join (select nature from natures)
left join (
    select month, published_zone_id as zone_id, nature, cast(sum(fines) as bigint) as fines
    from counted join zones using (zone_id) where month is not null group by all
) using (month, zone_id, nature);

create table fines_profile as
select
    quarter as quarter_start, quarter as period_start, period_end, zone_id, zone_name, iso_weekday, hour,
    case when fines >= 11 then fines end as fines,
    case when fines >= 11 then null else '<11' end as fines_label
from (select quarter, max(day) as period_end from calendar group by all)
cross join (select distinct published_zone_id as zone_id, published_zone_name as zone_name from zones)
cross join (select iso_weekday from weekdays)
cross join (select hour from hours)
left join (
    select
        quarter, published_zone_id as zone_id, weekday as iso_weekday, hour, cast(sum(fines) as bigint) as fines
    from counted join zones using (zone_id) where quarter is not null group by all
) using (quarter, zone_id, iso_weekday, hour);
