{#-
    The fixed public grid: every period of a silo's calendar x every value of each axis, whatever the data.

    silo: whose calendar. period: day, month or quarter. axes: names of grid_axis.
    Columns: quarter_start, period_start, period_end (last day of the period that the calendar covers), then the
    columns of each axis.
-#}
{% macro public_grid(silo, period, axes) -%}
    {%- set period_start = {'day': 'day', 'month': 'month_start', 'quarter': 'quarter_start'}[period] -%}
    select
        periods.quarter_start,
        periods.period_start,
        periods.period_end,
        {%- for axis in axes %}
            {%- set axis_loop_last = loop.last %}
            {%- for column in grid_axis(axis).columns %}
        {{ axis }}_axis.{{ column }}{{ '' if axis_loop_last and loop.last else ',' }}
            {%- endfor %}
        {%- endfor %}
    from (
        select
            quarter_start,
            {{ period_start }} as period_start,
            max(day) as period_end
        from {{ ref('stg_reference__calendar') }}
        where silo = '{{ silo }}'
        group by quarter_start, {{ period_start }}
    ) as periods
    {%- for axis in axes %}
    cross join (
        {{ grid_axis(axis).query }}
    ) as {{ axis }}_axis
    {%- endfor %}
{%- endmacro %}


{#- An axis of the grid: its columns, and the query that lists its values. -#}
{% macro grid_axis(axis) -%}
    {%- set zones = ref('stg_reference__zones') -%}
    {%- set axes = {
        'area': (['area_id', 'area_name'], zones),
        'zone': (['zone_id', 'zone_name'], zones),
        'place': (['place_id', 'place_name'], ref('stg_reference__places')),
        'nature': (['nature'], ref('natures')),
        'reason': (['reason'], ref('tow_reasons')),
        'delay_band': (['delay_band'], ref('delay_bands')),
        'direction': (['direction'], ref('directions')),
        'category': (['category'], ref('footfall_categories')),
        'time_band': (['time_band'], ref('hours')),
        'weekday': (['iso_weekday'], ref('weekdays')),
        'hour': (['hour'], ref('hours')),
    } -%}
    {%- if axis not in axes -%}
        {{ exceptions.raise_compiler_error("no grid axis '" ~ axis ~ "'; there are: " ~ axes.keys() | join(', ')) }}
    {%- endif -%}
    {%- set columns, relation = axes[axis] -%}
    {{ return({
        'columns': columns,
        'query': 'select distinct ' ~ columns | join(', ') ~ ' from ' ~ relation,
    }) }}
{%- endmacro %}
