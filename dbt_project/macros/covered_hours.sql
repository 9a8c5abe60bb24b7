{#-
    What a mean is divided by: the covered hours of each period, a public number. One row per combination of columns.

    A mean over fewer hours than half of those there are would tell of some weeks, not of the period: it has none.
    silo: whose calendar. columns: of stg_reference__hours, by the name they get.
-#}
{% macro covered_hours(silo, columns) -%}
    select
        {%- for name, column in columns.items() %}
        {{ column }} as {{ name }},
        {%- endfor %}
        case when 2 * sum(hours_covered) >= sum(hours) then sum(hours_covered) end as hours
    from {{ ref('stg_reference__hours') }}
    where silo = '{{ silo }}'
    group by {{ columns.values() | join(', ') }}
{%- endmacro %}
