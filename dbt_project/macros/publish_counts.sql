{#-
    The only way from a count to a mart: what is counted is laid over the fixed public grid, and what is under the
    threshold is hidden. A cell without a row counts zero and is hidden like any other small cell.

    grid, counts: names of CTEs. keys: the columns of both that make a cell. measure: the column of counts that is
    published, beside its label. threshold: the smallest value shown. companions: columns of counts that say something
    about the same cell; they are hidden with it.
-#}
{% macro publish_counts(grid, counts, keys, measure, threshold, companions=[]) -%}
    {%- set shown = counts ~ '.' ~ measure ~ ' >= ' ~ threshold -%}
    select
        {{ grid }}.*,
        case when {{ shown }} then {{ counts }}.{{ measure }} end as {{ measure }},
        {%- for companion in companions %}
        case when {{ shown }} then {{ counts }}.{{ companion }} end as {{ companion }},
        {%- endfor %}
        case when {{ shown }} then null else '<{{ threshold }}' end as {{ measure }}_label
    from {{ grid }}
    left join {{ counts }}
        on {% for key in keys -%}
            {{ grid }}.{{ key }} = {{ counts }}.{{ key }}
            {%- if not loop.last %}
        and {% endif -%}
        {%- endfor %}
{%- endmacro %}
