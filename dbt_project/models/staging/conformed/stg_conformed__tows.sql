with source as (
    select * from {{ source('conformed', 'tows') }}
),

delayed as (
    select
        event_date,
        local_hour,
        zone_id,
        reason,
        removed_at,
        released_at,
        {{ hours_between('removed_at', 'released_at') }} as delay_hours
    from source
)

select
    event_date,
    local_hour,
    zone_id,
    reason,
    case
        when removed_at is null then 'unknown'
        when released_at is null then 'not_released'
        when delay_hours < 24 then 'under_1_day'
        when delay_hours < 72 then '1_to_3_days'
        when delay_hours < 168 then '3_to_7_days'
        when delay_hours < 720 then '7_to_30_days'
        else 'over_30_days'
    end as delay_band
from delayed
