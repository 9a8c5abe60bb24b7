{#- A measure is shown from the threshold up, without a label; otherwise it is null and its label says '<threshold'. -#}
{% test hidden_below(model, column_name, threshold, companions=[]) %}
{%- set label = column_name ~ '_label' %}
select
    {{ column_name }},
    {{ label }}
from {{ model }}
where
    {{ column_name }} < {{ threshold }}
    or ({{ column_name }} is not null and {{ label }} is not null)
    or ({{ column_name }} is null and {{ label }} is distinct from '<{{ threshold }}')
    {%- for companion in companions %}
    or ({{ column_name }} is null and {{ companion }} is not null)
    {%- endfor %}
{% endtest %}
