{#-
    Every value of a column is listed by a seed: what is not would vanish from every grid. As dbt's own `relationships`, but
    each value is looked up once, whatever the number of rows.
-#}
{% test listed(model, column_name, seed, field) %}
with found as (
    select distinct {{ column_name }} as value
    from {{ model }}
),

listed as (
    select {{ field }} as value
    from {{ seed }}
)

select found.value
from found
left join listed on found.value = listed.value
where listed.value is null
{% endtest %}
