-- The family of tows, by hand. Views: events, first_events (conformed rows), zones; tables: tow_reasons, delay_bands, hours; macros:
-- source, threshold, weight, fitted.
create table counted as
select
    cast(date_trunc('month', event_date) as date) as month,
    cast(date_trunc('quarter', event_date) as date) as quarter,
    local_hour as hour,
    zone_id,
    reason,
    case
        when outcome in ('deplacement_technique', 'restitution_sur_place') then 'not_impounded'
        when epoch(released_at) - epoch(removed_at) < 24 * 3600 then 'under_1_day'
        when epoch(released_at) - epoch(removed_at) < 72 * 3600 then '1_to_3_days'
        when released_at is not null and removed_at is not null then 'over_3_days'
        when outcome = 'en_cours' then 'over_3_days'
        else 'unknown'
    end as delay_group,
    count(*) as tows
from first_events
group by all;

create table calendar as
select cast(date_trunc('month', day) as date) as month, cast(date_trunc('quarter', day) as date) as quarter, max(day) as day
from (
    select unnest(generate_series(min(event_date), max(event_date), interval 1 day)) as day from events
)
group by all;

create table quarters as
select quarter, cast(max(day) as date) as period_end from calendar group by all
having last_day(quarter + interval 2 month) = max(day);

create table by_month as
select *, exact + noise_of(source('tows_by_month', month), cell) as measured from (
    select
        quarter, month, cast(day as date) as period_end, coalesce(tows, 0) as exact, cast(month as varchar) as cell,
        cast(month as varchar) as parent, '' as tie
    from calendar
    left join (select month, sum(tows) as tows from counted group by all) using (month)
    where last_day(month) = day
);

create table by_month_and_reason as
select *, exact + noise_of(source('tows_by_month_and_reason', month), cell) as measured from (
    select
        quarter, month, cast(day as date) as period_end, reason_group, coalesce(tows, 0) as exact,
        concat_ws('|', month, reason_group) as cell, cast(month as varchar) as parent, reason_group as tie
    from calendar
    cross join (select distinct reason_group from tow_reasons)
    left join (select month, reason_group, sum(tows) as tows from counted join tow_reasons using (reason) group by all)
        using (month, reason_group)
    where last_day(month) = day
);

create table by_area as
select *, exact + noise_of(source('tows_by_area', quarter), cell) as measured from (
    select
        quarter, period_end, area_id, area_name, coalesce(tows, 0) as exact, concat_ws('|', quarter, area_id) as cell,
        quarter as parent, area_id as tie
    from quarters
    cross join (select distinct area_id, area_name from zones)
    left join (select quarter, area_id, sum(tows) as tows from counted join zones using (zone_id) group by all)
        using (quarter, area_id)
);

create table by_reason as
select *, exact + noise_of(source('tows_by_reason', quarter), cell) as measured from (
    select
        quarter, period_end, reason_group, coalesce(tows, 0) as exact, concat_ws('|', quarter, reason_group) as cell,
        quarter as parent, reason_group as tie
    from quarters
    cross join (select distinct reason_group from tow_reasons)
    left join (select quarter, reason_group, sum(tows) as tows from counted join tow_reasons using (reason) group by all)
        using (quarter, reason_group)
);

create table by_delay as
select *, exact + noise_of(source('tows_delay', quarter), cell) as measured from (
    select
        quarter, period_end, delay_group, coalesce(tows, 0) as exact, concat_ws('|', quarter, delay_group) as cell,
        quarter as parent, delay_group as tie
    from quarters
    cross join (select distinct delay_group from delay_bands)
    left join (select quarter, delay_group, sum(tows) as tows from counted group by all) using (quarter, delay_group)
);

create table by_band as
select *, exact + noise_of(source('tows_profile', quarter), cell) as measured from (
    select
        quarter, period_end, time_band, coalesce(tows, 0) as exact, concat_ws('|', quarter, time_band) as cell,
        quarter as parent, time_band as tie
    from quarters
    cross join (select time_band from time_bands)
    left join (
        select quarter, coalesce(time_band, 'unknown') as time_band, sum(tows) as tows
        from counted left join hours using (hour) group by all
    ) using (quarter, time_band)
);

create table month_totals as
select parent, cast(greatest((2 * sum(w * estimate) + sum(w)) // (2 * sum(w)), 0) as bigint) as total
from (
    select parent, sum(measured) as estimate, weight('tows_by_month') // count(*) as w from by_month group by all
    union all
    select parent, sum(measured), weight('tows_by_month_and_reason') // count(*) from by_month_and_reason group by all
)
group by all;

create table tows_by_month as
select
    quarter as quarter_start, month as period_start, period_end,
    case when fitted >= threshold('tows_by_month') then fitted end as tows,
    case when fitted >= threshold('tows_by_month') then null else '<' || threshold('tows_by_month') end as tows_label
from fitted('by_month', 'month_totals');

create table tows_by_month_and_reason as
select
    quarter as quarter_start, month as period_start, period_end, reason_group,
    case when fitted >= threshold('tows_by_month_and_reason') then fitted end as tows,
    case
        when fitted >= threshold('tows_by_month_and_reason') then null
        else '<' || threshold('tows_by_month_and_reason')
    end as tows_label
from fitted('by_month_and_reason', 'month_totals');

create table own_totals as
select parent, cast(greatest((2 * sum(w * estimate) + sum(w)) // (2 * sum(w)), 0) as bigint) as total
from (
    select parent, sum(measured) as estimate, weight('tows_by_area') // count(*) as w from by_area group by all
    union all
    select parent, sum(measured), weight('tows_by_reason') // count(*) from by_reason group by all
    union all
    select parent, sum(measured), weight('tows_delay') // count(*) from by_delay group by all
    union all
    select parent, sum(measured), weight('tows_profile') // count(*) from by_band group by all
)
group by all;

create table totals as
select parent, coalesce(agreed, own_totals.total) as total
from own_totals
left join (
    select cast(date_trunc('quarter', month) as date) as parent, cast(sum(total) as bigint) as agreed
    from (
        select period_start as month, sum(tows) as total from tows_by_month group by all having count(tows) = count(*)
        union
        select period_start, sum(tows) from tows_by_month_and_reason group by all having count(tows) = count(*)
    )
    group by all having count(*) = 3
) using (parent);

create table tows_by_area as
select
    quarter as quarter_start, quarter as period_start, period_end, area_id, area_name,
    case when fitted >= threshold('tows_by_area') then fitted end as tows,
    case when fitted >= threshold('tows_by_area') then null else '<' || threshold('tows_by_area') end as tows_label
from fitted('by_area', 'totals');

create table tows_by_reason as
select
    quarter as quarter_start, quarter as period_start, period_end, reason_group,
    case when fitted >= threshold('tows_by_reason') then fitted end as tows,
    case when fitted >= threshold('tows_by_reason') then null else '<' || threshold('tows_by_reason') end as tows_label
from fitted('by_reason', 'totals');

create table tows_delay as
select
    quarter as quarter_start, quarter as period_start, period_end, delay_group,
    case when fitted >= threshold('tows_delay') then fitted end as tows,
    case when fitted >= threshold('tows_delay') then null else '<' || threshold('tows_delay') end as tows_label
from fitted('by_delay', 'totals');

create table tows_profile as
select
    quarter as quarter_start, quarter as period_start, period_end, time_band,
    case when fitted >= threshold('tows_profile') then fitted end as tows,
    case when fitted >= threshold('tows_profile') then null else '<' || threshold('tows_profile') end as tows_label
from fitted('by_band', 'totals');
