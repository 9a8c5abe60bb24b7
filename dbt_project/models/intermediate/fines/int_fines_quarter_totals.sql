with measured as (
    select * from {{ ref('int_fines_profile_measured') }}
),

zones as (
    select distinct
        zone_id,
        area_id
    from {{ ref('stg_reference__zones') }}
),

by_day as (
    select * from {{ ref('fines_by_day') }}
),

by_nature as (
    select * from {{ ref('fines_by_nature') }}
),

by_month as (
    select
        fines_by_month.period_start,
        zones.area_id,
        fines_by_month.fines
    from {{ ref('fines_by_month') }} as fines_by_month
    inner join zones on fines_by_month.zone_id = zones.zone_id
),

shown as (
    {{ shown_totals('by_day', "cast(date_trunc('month', period_start) as date)", 'area_id', 'fines') }}
    union all
    {{ shown_totals('by_nature', 'period_start', 'area_id', 'fines') }}
    union all
    {{ shown_totals('by_month', 'period_start', 'area_id', 'fines') }}
),

own as (
    select
        unit_start,
        area_id as parent,
        greatest(sum(measured), 0) as total
    from measured
    group by unit_start, area_id
),

totals as (
    {{ quarter_totals('own', 'shown', 'verbalisations') }}
)

select
    unit_start,
    parent as area_id,
    total
from totals
