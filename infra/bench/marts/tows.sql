-- The family of tows, by hand. Views: events (conformed rows), zones; tables: tow_reasons, delay_bands, weekdays, hours.
create table counted as
select
    event_date as day,
    cast(date_trunc('month', event_date) as date) as month,
    cast(date_trunc('quarter', event_date) as date) as quarter,
    isodow(event_date) as weekday,
    local_hour as hour,
    zone_id,
    reason,
    case
        when outcome in ('deplacement_technique', 'restitution_sur_place') then 'not_impounded'
        when epoch(released_at) - epoch(removed_at) < 24 * 3600 then 'under_1_day'
        when epoch(released_at) - epoch(removed_at) < 72 * 3600 then '1_to_3_days'
        when epoch(released_at) - epoch(removed_at) < 168 * 3600 then '3_to_7_days'
        when epoch(released_at) - epoch(removed_at) < 720 * 3600 then '7_to_30_days'
        when released_at is not null and removed_at is not null then 'over_30_days'
        when outcome = 'en_cours' then 'in_pound'
        else 'unknown'
    end as delay_band,
    count(*) as tows
from events
group by grouping sets ((day, zone_id), (month, zone_id, reason, delay_band), (quarter, weekday, hour, zone_id));

create table calendar as
select
    cast(day as date) as day,
    cast(date_trunc('month', day) as date) as month,
    cast(date_trunc('quarter', day) as date) as quarter
from (select unnest(generate_series(min(day), max(day), interval 1 day)) as day from counted);

create table tows_by_day as
select
    quarter as quarter_start, day as period_start, day as period_end, area_id, area_name,
    case when tows >= 11 then tows end as tows,
    case when tows >= 11 then null else '<11' end as tows_label
from calendar
cross join (select distinct area_id, area_name from zones)
left join (
    select day, area_id, cast(sum(tows) as bigint) as tows
    from counted join zones using (zone_id) where day is not null group by all
) using (day, area_id);

create table tows_by_month as
select
    quarter as quarter_start, month as period_start, period_end, zone_id, zone_name, reason,
    case when tows >= 11 then tows end as tows,
    case when tows >= 11 then null else '<11' end as tows_label
from (select quarter, month, max(day) as period_end from calendar group by all)
cross join (select distinct published_zone_id as zone_id, published_zone_name as zone_name from zones)
cross join (select reason from tow_reasons)
left join (
    select month, published_zone_id as zone_id, reason, cast(sum(tows) as bigint) as tows
    from counted join zones using (zone_id) where month is not null group by all
) using (month, zone_id, reason);

create table tows_delay as
select
    quarter as quarter_start, month as period_start, period_end, area_id, area_name, delay_band,
    case when tows >= 11 then tows end as tows,
    case when tows >= 11 then null else '<11' end as tows_label
from (select quarter, month, max(day) as period_end from calendar group by all)
cross join (select distinct area_id, area_name from zones)
cross join (select delay_band from delay_bands)
left join (
    select month, area_id, delay_band, cast(sum(tows) as bigint) as tows
    from counted join zones using (zone_id) where month is not null group by all
) using (month, area_id, delay_band);

create table tows_profile as
select
    quarter as quarter_start, quarter as period_start, period_end, area_id, area_name, iso_weekday, hour,
    case when tows >= 11 then tows end as tows,
    case when tows >= 11 then null else '<11' end as tows_label
from (select quarter, max(day) as period_end from calendar group by all)
cross join (select distinct area_id, area_name from zones)
cross join (select iso_weekday from weekdays)
cross join (select hour from hours)
left join (
    select quarter, area_id, weekday as iso_weekday, hour, cast(sum(tows) as bigint) as tows
    from counted join zones using (zone_id) where quarter is not null group by all
) using (quarter, area_id, iso_weekday, hour);
