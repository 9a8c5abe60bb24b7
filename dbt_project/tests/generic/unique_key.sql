{#-
    No two rows have the same values in the columns of the key, and none of rows; nulls are values like others.

    It guards those who change models: builds of a lake do without (var development), whose marts are held to complete_grid.
    Left out by --exclude, it would take other tests along: of what is excluded, dbt excludes the tests of parents too.
-#}
{% test unique_key(model, columns) %}
{{ config(enabled=var('development', true)) }}
select
    {{ columns | join(',\n    ') }}{% if columns %},{% endif %}
    count(*) as rows
from {{ model }}
{%- if columns %}
group by {{ columns | join(', ') }}
{%- endif %}
having count(*) > 1
{% endtest %}
