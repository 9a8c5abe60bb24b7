{#-
    Step 1 of publish_counts: the fixed public grid. Every period of the units that are to be released x every value of
    each axis, whatever the data: which rows a mart has never depends on anybody.

    mart: whose units. silo: whose calendar. period: day, month or quarter. axes: names of grid_axis.
    Columns: unit_start, unit_end and edition of the release unit; quarter_start, period_start, period_end (last day of
    the period that the calendar covers); then the columns of each axis.
-#}
{% macro public_grid(mart, silo, period, axes) -%}
    {%- set period_start = {'day': 'day', 'month': 'month_start', 'quarter': 'quarter_start'}[period] -%}
    select
        periods.unit_start,
        periods.unit_end,
        periods.edition,
        periods.quarter_start,
        periods.period_start,
        periods.period_end
        {%- for axis in axes %}
            {%- for column in grid_axis(axis).columns %},
        {{ axis }}_axis.{{ column }}
            {%- endfor %}
        {%- endfor %}
    from (
        select
            units.unit_start,
            units.unit_end,
            units.edition,
            calendar.quarter_start,
            calendar.{{ period_start }} as period_start,
            max(calendar.day) as period_end
        from {{ ref('stg_reference__units') }} as units
        inner join {{ ref('stg_reference__calendar') }} as calendar
            on calendar.day between units.unit_start and units.unit_end
        where
            units.mart = '{{ mart }}'
            and calendar.silo = '{{ silo }}'
        group by
            units.unit_start,
            units.unit_end,
            units.edition,
            calendar.quarter_start,
            calendar.{{ period_start }}
    ) as periods
    {%- for axis in axes %}
    cross join (
        {{ grid_axis(axis).query }}
    ) as {{ axis }}_axis
    {%- endfor %}
{%- endmacro %}


{#-
    Step 2: generalise. An axis of the grid: its columns, and the query that lists its values. Zones are the published
    ones (small ones merged), natures and reasons of tows come in groups.
-#}
{% macro grid_axis(axis) -%}
    {%- set axes = {
        'area': ('stg_reference__zones', ['area_id', 'area_name']),
        'zone': ('stg_reference__zones', ['zone_id', 'zone_name', 'area_id']),
        'place': ('stg_reference__places', ['place_id', 'place_name']),
        'nature_group': ('natures', ['nature_group']),
        'reason_group': ('tow_reasons', ['reason_group']),
        'delay_group': ('delay_bands', ['delay_group']),
        'direction': ('directions', ['direction']),
        'category': ('footfall_categories', ['category']),
        'time_band': ('hours', ['time_band']),
        'day_type': ('weekdays', ['day_type']),
        'weekday': ('weekdays', ['iso_weekday']),
        'hour': ('hours', ['hour']),
    } -%}
    {%- if axis not in axes -%}
        {{ exceptions.raise_compiler_error("no grid axis '" ~ axis ~ "'; there are: " ~ axes.keys() | join(', ')) }}
    {%- endif -%}
    {%- set model, columns = axes[axis] -%}
    {{ return({'columns': columns, 'query': 'select distinct ' ~ columns | join(', ') ~ ' from ' ~ ref(model)}) }}
{%- endmacro %}
