-- The family of fines, by hand. Views: first_events (conformed rows), zones; tables: natures, weekdays, hours; macros: source,
-- threshold, weight, fitted.
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
from first_events
group by grouping sets ((day, zone_id), (month, zone_id, nature), (quarter, weekday, hour, zone_id));

create table calendar as
select
    cast(day as date) as day,
    cast(date_trunc('month', day) as date) as month,
    cast(date_trunc('quarter', day) as date) as quarter
from (select unnest(generate_series(min(day), max(day), interval 1 day)) as day from counted);

create table months as
select quarter, month, max(day) as period_end from calendar group by all
having last_day(month) = max(day);

create table quarters as
select quarter, max(day) as period_end from calendar group by all
having last_day(quarter + interval 2 month) = max(day);

create table by_day as
select *, exact + noise_of(source('fines_by_day', month), cell) as measured from (
    select
        quarter, month, day, area_id, area_name, coalesce(fines, 0) as exact,
        concat_ws('|', day, area_id) as cell, concat(month, area_id) as parent, cast(day as varchar) as tie
    from calendar
    join months using (quarter, month)
    cross join (select distinct area_id, area_name from zones)
    left join (
        select day, area_id, sum(fines) as fines from counted join zones using (zone_id) where day is not null group by all
    ) using (day, area_id)
);

create table by_month as
select *, exact + noise_of(source('fines_by_month', month), cell) as measured from (
    select
        quarter, month, period_end, zone_id, zone_name, coalesce(fines, 0) as exact,
        concat_ws('|', month, zone_id) as cell, concat(month, area_id) as parent, zone_id as tie
    from months
    cross join (select distinct published_zone_id as zone_id, published_zone_name as zone_name, area_id from zones)
    left join (
        select month, published_zone_id as zone_id, sum(fines) as fines
        from counted join zones using (zone_id) where month is not null group by all
    ) using (month, zone_id)
);

create table by_nature as
select *, exact + noise_of(source('fines_by_nature', month), cell) as measured from (
    select
        quarter, month, period_end, area_id, area_name, nature_group, coalesce(fines, 0) as exact,
        concat_ws('|', month, area_id, nature_group) as cell, concat(month, area_id) as parent, nature_group as tie
    from months
    cross join (select distinct area_id, area_name from zones)
    cross join (select distinct nature_group from natures)
    left join (
        select month, area_id, nature_group, sum(fines) as fines
        from counted join zones using (zone_id) join natures using (nature) where month is not null group by all
    ) using (month, area_id, nature_group)
);

create table profile as
select *, exact + noise_of(source('fines_profile', quarter), cell) as measured from (
    select
        quarter, period_end, area_id, area_name, day_type, time_band, coalesce(fines, 0) as exact,
        concat_ws('|', quarter, area_id, day_type, time_band) as cell, concat(quarter, area_id) as parent,
        concat(day_type, '|', time_band) as tie
    from quarters
    cross join (select distinct area_id, area_name from zones)
    cross join (select distinct day_type from weekdays)
    cross join (select time_band from time_bands)
    left join (
        select quarter, area_id, day_type, coalesce(time_band, 'unknown') as time_band, sum(fines) as fines
        from counted
        join zones using (zone_id)
        join weekdays on weekday = iso_weekday
        left join hours using (hour)
        where quarter is not null
        group by all
    ) using (quarter, area_id, day_type, time_band)
);

create table totals as
select parent, cast(greatest((2 * sum(w * estimate) + sum(w)) // (2 * sum(w)), 0) as bigint) as total
from (
    select parent, sum(measured) as estimate, weight('fines_by_day') // count(*) as w from by_day group by all
    union all
    select parent, sum(measured), weight('fines_by_month') // count(*) from by_month group by all
    union all
    select parent, sum(measured), weight('fines_by_nature') // count(*) from by_nature group by all
)
group by all;

create table fines_by_day as
select
    quarter as quarter_start, day as period_start, day as period_end, area_id, area_name,
    case when fitted >= threshold('fines_by_day') then fitted end as fines,
    case when fitted >= threshold('fines_by_day') then null else '<' || threshold('fines_by_day') end as fines_label
from fitted('by_day', 'totals');

create table fines_by_month as
select
    quarter as quarter_start, month as period_start, period_end, zone_id, zone_name,
    case when fitted >= threshold('fines_by_month') then fitted end as fines,
    case when fitted >= threshold('fines_by_month') then null else '<' || threshold('fines_by_month') end as fines_label
from fitted('by_month', 'totals');

create table fines_by_nature as
select
    quarter as quarter_start, month as period_start, period_end, area_id, area_name, nature_group,
    case when fitted >= threshold('fines_by_nature') then fitted end as fines,
    case when fitted >= threshold('fines_by_nature') then null else '<' || threshold('fines_by_nature') end as fines_label
from fitted('by_nature', 'totals');

create table profile_totals as
select parent, cast(coalesce(agreed, own) as bigint) as total
from (select parent, quarter, area_id, greatest(sum(measured), 0) as own from profile group by all)
left join (
    select cast(date_trunc('quarter', month) as date) as quarter, area_id, cast(sum(total) as bigint) as agreed
    from (
        select cast(date_trunc('month', period_start) as date) as month, area_id, sum(fines) as total
        from fines_by_day group by all having count(fines) = count(*)
        union
        select period_start, area_id, sum(fines) from fines_by_nature group by all having count(fines) = count(*)
        union
        select period_start, area_id, sum(fines)
        from fines_by_month join (select distinct published_zone_id as zone_id, area_id from zones) using (zone_id)
        group by all having count(fines) = count(*)
    )
    group by all having count(*) = 3
) using (quarter, area_id);

create table fines_profile as
select
    quarter as quarter_start, quarter as period_start, period_end, area_id, area_name, day_type, time_band,
    case when fitted >= threshold('fines_profile') then fitted end as fines,
    case when fitted >= threshold('fines_profile') then null else '<' || threshold('fines_profile') end as fines_label
from fitted('profile', 'profile_totals');
