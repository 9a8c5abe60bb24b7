{#-
    Publishing counts, in eight steps (docs/decisions/0026):

    1. the fixed public grid                    public_grid
    2. generalise                               axes of the privacy plan, seeds, and the city's merged zones
    3. bound contributions                      bound_contributions
    4. noise                                    measure_counts
    5. consistency                              fit_to_totals and its totals
    6. display rule                             publish_counts, below
    7. ledger, 8. settling                      privacy/spending.py, publication/settling.py

    This macro is the last of them in SQL: a count under the mart's threshold is hidden, and its label says so. It is
    decided on the noisy count, so it tells nothing new about anybody.

    cells: name of a CTE. value: an expression over it, the noisy count. hours:
    an expression for the public number of hours that the count is divided by, where a mean is published; a mean is
    hidden where its count is, or where there are no hours, and its label has the threshold divided like the count.
    companions: expressions by name, derived from noisy values and public facts only; they are hidden with the measure.
-#}
{% macro publish_counts(mart, cells, value, hours=none, companions={}) -%}
    {%- set measure = privacy_plan(mart)['measure'] -%}
    {%- set least = display_threshold(mart) -%}
    {%- set shown = value ~ ' >= ' ~ least ~ (' and ' ~ hours ~ ' > 0' if hours else '') -%}
    {%- set divided = ' / cast(' ~ hours ~ ' as double)' if hours else '' -%}
    select
        *,
        case when {{ shown }} then {{ value }}{{ divided }} end as {{ measure }},
        {%- for name, companion in companions.items() %}
        case when {{ shown }} then {{ companion }} end as {{ name }},
        {%- endfor %}
        case
            when {{ shown }} then null
            {%- if hours %}
            when {{ hours }} > 0 then '<' || cast(ceil({{ least }}{{ divided }}) as bigint)
            {%- endif %}
            else '<{{ least }}'
        end as {{ measure }}_label
    from {{ cells }}
{%- endmacro %}


{#-
    Steps 5 and 6 for a mart whose leaves add up to totals that it shares with others. leaves: name of a CTE with measured.
    totals and parent: as in fit_to_totals.
-#}
{% macro publish_fitted(mart, leaves, totals, parent) -%}
    with fitted as (
        {{ fit_to_totals(leaves, totals, parent, order_by=grain_of(mart) | reject('in', parent) | list) }}
    )

    {{ publish_counts(mart, cells='fitted', value='fitted') }}
{%- endmacro %}
