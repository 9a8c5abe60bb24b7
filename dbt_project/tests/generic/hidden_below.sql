{#-
    A measure is shown from the threshold up, without a label; otherwise it is null and its label says '<threshold'. A
    mean has no threshold: the count that it is made from has; its label says '<' and a number.
-#}
{% test hidden_below(model, column_name, threshold=none, companions=[]) %}
{%- set label = column_name ~ '_label' %}
select
    {{ column_name }},
    {{ label }}
from {{ model }}
where
    {{ column_name }} < {{ threshold if threshold else 0 }}
    or ({{ column_name }} is not null and {{ label }} is not null)
    {%- if threshold %}
    or ({{ column_name }} is null and {{ label }} is distinct from '<{{ threshold }}')
    {%- else %}
    or ({{ column_name }} is null and not regexp_full_match(coalesce({{ label }}, ''), '<[1-9][0-9]*'))
    {%- endif %}
    {%- for companion in companions %}
    or ({{ column_name }} is null and {{ companion }} is not null)
    {%- endfor %}
{% endtest %}
