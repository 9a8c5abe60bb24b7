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
    {%- set axes = {
        'area': ('stg_reference__zones', ['area_id', 'area_name']),
        'zone': ('stg_reference__zones', ['zone_id', 'zone_name']),
        'place': ('stg_reference__places', ['place_id', 'place_name']),
        'nature': ('natures', ['nature']),
        'reason': ('tow_reasons', ['reason']),
        'delay_band': ('delay_bands', ['delay_band']),
        'direction': ('directions', ['direction']),
        'category': ('footfall_categories', ['category']),
        'time_band': ('hours', ['time_band']),
        'weekday': ('weekdays', ['iso_weekday']),
        'hour': ('hours', ['hour']),
    } -%}
    {%- if axis not in axes -%}
        {{ exceptions.raise_compiler_error("no grid axis '" ~ axis ~ "'; there are: " ~ axes.keys() | join(', ')) }}
    {%- endif -%}
    {%- set model, columns = axes[axis] -%}
    {{ return({'columns': columns, 'query': 'select distinct ' ~ columns | join(', ') ~ ' from ' ~ ref(model)}) }}
{%- endmacro %}
