with source as (
    select * from {{ source('conformed', 'tows') }}
),

delayed as (
    select
        record_key,
        vehicle,
        event_date,
        removed_at,
        local_hour,
        zone_id,
        reason,
        outcome,
        {{ hours_between('removed_at', 'released_at') }} as delay_hours
    from source
)

select
    record_key,
    vehicle,
    event_date,
    removed_at,
    local_hour,
    zone_id,
    reason,
    case
        when outcome in ('deplacement_technique', 'restitution_sur_place') then 'not_impounded'
        when delay_hours < 24 then 'under_1_day'
        when delay_hours < 72 then '1_to_3_days'
        when delay_hours < 168 then '3_to_7_days'
        when delay_hours < 720 then '7_to_30_days'
        when delay_hours >= 720 then 'over_30_days'
        when outcome = 'en_cours' then 'in_pound'
        else 'unknown'
    end as delay_band
from delayed
