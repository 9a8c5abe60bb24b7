{#-
    Publishing counts, in eight steps (docs/decisions/0010):

    1. the fixed public grid                    public_grid
    2. generalise                               grid_axis, seeds, and the city's merged zones
    3. bound contributions                      bound_contributions
    4. noise                                    measure_counts
    5. consistency                              fit_to_totals and its totals
    6. display rule                             publish_counts, below
    7. ledger, 8. settling                      publication/ledger.py, publication/settling.py

    This macro is the last of them in SQL: a value under the mart's threshold is hidden, and its label says so. It is
    decided on the noisy value, so it tells nothing new about anybody.

    cells: name of a CTE. value: an expression over it, the noisy value. measure: the name it is published under.
    companions: expressions by name, derived from noisy values and public facts only; they are hidden with the measure.
-#}
{% macro publish_counts(mart, cells, value, measure, companions={}) -%}
    {%- set shown = value ~ ' >= ' ~ display_threshold(mart) -%}
    select
        *,
        case when {{ shown }} then {{ value }} end as {{ measure }},
        {%- for name, companion in companions.items() %}
        case when {{ shown }} then {{ companion }} end as {{ name }},
        {%- endfor %}
        case when {{ shown }} then null else '<{{ display_threshold(mart) }}' end as {{ measure }}_label
    from {{ cells }}
{%- endmacro %}
