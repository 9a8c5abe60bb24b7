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


{#- The total of each parent whose leaves were measured by one mart only: their sum, if it is not negative. -#}
{% macro own_totals(leaves, parent) -%}
    select
        {{ parent | join(', ') }},
        greatest(sum(measured), 0) as total
    from {{ leaves }}
    group by {{ parent | join(', ') }}
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
