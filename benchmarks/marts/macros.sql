-- What all families need beside their own query. Table plan: name, distribution, least, precision.
create macro source(mart, unit) as concat_ws(' ', (select distribution from plan where name = mart), 1, unit);
create macro threshold(mart) as (select least from plan where name = mart);
create macro hidden() as (select footfall_hidden from settings);
create macro mean_of(mart, measured, hours) as
case when measured >= threshold(mart) and hours > 0 then measured / cast(hours as double) end;
create macro mean_label_of(mart, measured, hours) as
case
    when measured >= threshold(mart) and hours > 0 then null
    when hours > 0 then '<' || cast(ceil(threshold(mart) / cast(hours as double)) as bigint)
    else '<' || threshold(mart)
end;
create macro noise_of(source, cell) as noise(source, cell, [''])[1];
create macro weight(mart) as (select precision from plan where name = mart);

-- Leaves (parent, tie, measured) as the nearest non-negative integers that sum to their parent's total.
create macro fitted(leaves, totals) as table
with ranked as (
    select
        *,
        row_number() over (partition by parent order by measured desc, tie) as place,
        sum(measured) over (partition by parent order by measured desc, tie rows unbounded preceding) - total as excess
    from query_table(leaves)
    join query_table(totals) using (parent)
),

shares as (
    select parent, max(place) as positive, max_by(excess, place) as excess
    from ranked where measured * place > excess group by parent
)

select
    ranked.*,
    case
        when place > positive or positive is null then 0
        else measured - cast(floor(shares.excess / positive) as bigint)
            - case when place <= shares.excess - floor(shares.excess / positive) * positive then 1 else 0 end
    end as fitted
from ranked
left join shares using (parent);
