with tows as (
    select * from {{ ref('int_tows_counted') }}
    where grain = 'delay'
),

bands as (
    select * from {{ ref('delay_bands') }}
),

counted as (
    select
        tows.quarter_start as period_start,
        bands.delay_group,
        cast(sum(tows.tows) as bigint) as tows
    from tows
    inner join bands on tows.delay_band = bands.delay_band
    group by tows.quarter_start, bands.delay_group
),

measured as (
    {{ measure_counts('tows_delay', counts='counted', count='tows') }}
)

select * from measured
