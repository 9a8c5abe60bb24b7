{#-
    No two rows have the same values in the columns of the key, and none of rows; nulls are values like others.

    It guards those who change models: builds of a lake leave it out (tag development), whose marts are held to complete_grid.
-#}
{% test unique_key(model, columns) %}
{{ config(tags=['development']) }}
select
    {{ columns | join(',\n    ') }}{% if columns %},{% endif %}
    count(*) as rows
from {{ model }}
{%- if columns %}
group by {{ columns | join(', ') }}
{%- endif %}
having count(*) > 1
{% endtest %}
