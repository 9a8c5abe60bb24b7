with fines as (
    select * from {{ ref('int_fines_counted') }}
    where grain = 'month'
),

natures as (
    select * from {{ ref('natures') }}
),

counted as (
    select
        fines.month_start as period_start,
        fines.area_id,
        natures.nature_group,
        cast(sum(fines.fines) as bigint) as fines
    from fines
    inner join natures on fines.nature = natures.nature
    group by fines.month_start, fines.area_id, natures.nature_group
),

measured as (
    {{ measure_counts('fines_by_nature', counts='counted', count='fines') }}
)

select * from measured
