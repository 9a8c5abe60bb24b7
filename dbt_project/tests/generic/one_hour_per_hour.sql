{#- A local hour occurs once a day, and twice only on a day whose clocks change. -#}
{% test one_hour_per_hour(model, column_name) %}
select
    day,
    hour,
    {{ column_name }}
from {{ model }}
where {{ column_name }} > case when is_clock_change then 2 else 1 end
{% endtest %}
