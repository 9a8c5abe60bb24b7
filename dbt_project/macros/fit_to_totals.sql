{#-
    Step 5 of publish_counts: consistency. Noisy leaves become non-negative integers that sum to their parent's total:
    the nearest such (least squares), found by taking the same amount from every leaf that stays positive.

    leaves: name of a CTE with measured. totals: name of a CTE with the columns of parent and total. parent: the columns
    that say which leaves belong together. order_by: what tells leaves of a parent apart; it breaks ties.
    Columns: those of leaves, and fitted. All arithmetic is on integers, so it is the same everywhere.
-#}
{% macro fit_to_totals(leaves, totals, parent, order_by) -%}
    {%- set together = parent | join(', ') -%}
    {%- set ranking = "partition by " ~ together ~ " order by measured desc, " ~ order_by | join(', ') -%}
    with ranked as (
        select
            {{ leaves }}.*,
            {{ totals }}.total,
            row_number() over ({{ ranking }}) as place,
            sum({{ leaves }}.measured) over ({{ ranking }} rows unbounded preceding) as running
        from {{ leaves }}
        inner join {{ totals }} using ({{ together }})
    ),

    -- The leaves that stay positive when the excess over the total is shared out among them.
    positive as (
        select
            {{ together }},
            max(place) as leaves,
            max_by(running - total, place) as excess
        from ranked
        where measured * place > running - total
        group by {{ together }}
    ),

    shares as (
        select
            *,
            ((excess % leaves) + leaves) % leaves as remainder
        from positive
    )

    select
        ranked.* exclude (place, running, total),
        cast(
            case
                when ranked.place <= shares.remainder
                    then ranked.measured - (shares.excess - shares.remainder) // shares.leaves - 1
                when ranked.place <= shares.leaves
                    then ranked.measured - (shares.excess - shares.remainder) // shares.leaves
                else 0
            end as bigint
        ) as fitted
    from ranked
    left join shares using ({{ together }})
{%- endmacro %}


{#-
    The common totals of marts that were measured apart: the mean of their own totals, weighted by precision.

    estimates: name of a CTE with the columns of parent, estimate (the sum of some mart's leaves) and weight (an integer,
    the mart's precision_of divided by the number of leaves).
-#}
{% macro common_totals(estimates, parent) -%}
    select
        {{ parent | join(', ') }},
        cast(greatest((2 * sum(weight * estimate) + sum(weight)) // (2 * sum(weight)), 0) as bigint) as total
    from {{ estimates }}
    group by {{ parent | join(', ') }}
{%- endmacro %}


{#- What one mart says of the total of each parent. -#}
{% macro estimate_of(mart, leaves, parent) -%}
    select
        {{ parent | join(', ') }},
        sum(measured) as estimate,
        {{ precision_of(mart) }} // count(*) as weight
    from {{ leaves }}
    group by {{ parent | join(', ') }}
{%- endmacro %}


{#- Of a mart's published cells, the total of each parent and month that has none of them hidden. -#}
{% macro shown_totals(cells, month_start, parent, measure) -%}
    select
        {{ month_start }} as month_start,
        {{ parent }} as parent,
        sum({{ measure }}) as total
    from {{ cells }}
    group by {{ month_start }}, {{ parent }}
    having count({{ measure }}) = count(*)
{%- endmacro %}


{#-
    The totals of quarters: those that their three published months show, and where they do not, the quarter's own.

    own: name of a CTE with unit_start, parent and total. shown: name of a CTE of shown_totals of the months that are
    built beside the quarter. silo: whose months were published before: those count, whatever is built of them now.
-#}
{% macro quarter_totals(own, shown, silo) -%}
    with published as (
        select * from {{ ref('stg_reference__month_totals') }}
        where silo = '{{ silo }}'
    ),

    months as (
        select
            month_start,
            parent,
            total
        from published
        union all
        -- Tables of a month agree: whichever shows a total, it is the same.
        select distinct
            {{ shown }}.month_start,
            {{ shown }}.parent,
            {{ shown }}.total
        from {{ shown }}
        where {{ shown }}.month_start not in (select published.month_start from published)
    ),

    quarters as (
        select
            cast(date_trunc('quarter', month_start) as date) as unit_start,
            parent,
            cast(sum(total) as bigint) as total
        from months
        group by cast(date_trunc('quarter', month_start) as date), parent
        having count(total) = 3
    )

    select
        {{ own }}.unit_start,
        {{ own }}.parent,
        cast(coalesce(quarters.total, {{ own }}.total) as bigint) as total
    from {{ own }}
    left join quarters
        on
            {{ own }}.unit_start = quarters.unit_start
            and {{ own }}.parent = quarters.parent
{%- endmacro %}
