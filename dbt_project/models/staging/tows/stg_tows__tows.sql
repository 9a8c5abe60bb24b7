with source as (
    select * from {{ source('tows', 'tows') }}
),

bands as (
    select
        delay_band,
        least_hours,
        lead(least_hours) over (order by least_hours) as under_hours
    from {{ ref('delay_bands') }}
    where least_hours is not null
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
    delayed.record_key,
    delayed.vehicle,
    delayed.event_date,
    delayed.removed_at,
    delayed.local_hour,
    delayed.zone_id,
    delayed.reason,
    case
        when delayed.outcome in ('deplacement_technique', 'restitution_sur_place') then 'not_impounded'
        when bands.delay_band is not null then bands.delay_band
        when delayed.outcome = 'en_cours' then 'in_pound'
        else 'unknown'
    end as delay_band
from delayed
left join bands
    on
        delayed.delay_hours >= bands.least_hours
        and (delayed.delay_hours < bands.under_hours or bands.under_hours is null)
