{#-
    Step 1 of publish_counts: the fixed public grid. Every period of the units that are to be released x every value of
    each axis, whatever the data: which rows a mart has never depends on anybody.

    mart: whose units. silo: whose calendar. period: day, month or quarter. axes: names of grid_axis. with_noise: whether
    each cell comes with its noise (step 4), which depends on nobody either.
    Columns: unit_start, unit_end and edition of the release unit; quarter_start, period_start, period_end (the period's
    last day), days_covered (how many of its days somebody declared, which are those of the calendar) and
    days_in_period; then the columns of each axis; noise.

    A cell is named by its period and the id of each axis, joined by bars. Noise is drawn for a lot of cells at a time,
    those that differ in the last two axes only: cell by cell it takes three times as long or more.
-#}
{% macro public_grid(mart, silo, period, axes, with_noise=true) -%}
    {%- set period_start = {'day': 'day', 'month': 'month_start', 'quarter': 'quarter_start'}[period] -%}
    {%- set period_end = {'day': 'day', 'month': 'month_end', 'quarter': 'quarter_end'}[period] -%}
    {%- set outer_axes, inner_axes = axes[:-2], axes[-2:] -%}
    {%- set ids = [] -%}
    {%- for axis in inner_axes %}{% do ids.append(axis ~ '_axis.' ~ grid_axis(axis).columns[0]) %}{% endfor -%}
    select
        lots.unit_start,
        lots.unit_end,
        lots.edition,
        lots.quarter_start,
        lots.period_start,
        lots.period_end,
        lots.days_covered,
        lots.days_in_period
        {%- for axis in outer_axes %}
            {%- for column in grid_axis(axis).columns %},
        lots.{{ column }}
            {%- endfor %}
        {%- endfor %}
        {%- for axis in inner_axes %}
            {%- for column in grid_axis(axis).columns %},
        unnest(lots.{{ column }}) as {{ column }}
            {%- endfor %}
        {%- endfor %}
        {%- if with_noise %},
        unnest({{ noise(mart, 'lots.edition', 'lots.unit_start', 'lots.cells_begin', 'lots.cells_end') }}) as noise
        {%- endif %}
    from (
        select
            periods.*,
            {%- for axis in outer_axes %}
            {{ axis }}_axis.*,
            {%- endfor %}
            inner_axes.*,
            concat(
                periods.period_start
                {%- for axis in outer_axes %},
                '|',
                {{ axis }}_axis.{{ grid_axis(axis).columns[0] }}
                {%- endfor %}
            ) as cells_begin
        from (
            select
                units.unit_start,
                units.unit_end,
                units.edition,
                calendar.quarter_start,
                calendar.{{ period_start }} as period_start,
                calendar.{{ period_end }} as period_end,
                cast(count(*) as integer) as days_covered,
                cast(calendar.{{ period_end }} - calendar.{{ period_start }} + 1 as integer) as days_in_period
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
                calendar.{{ period_start }},
                calendar.{{ period_end }}
        ) as periods
        {%- for axis in outer_axes %}
        cross join (
            {{ grid_axis(axis).query }}
        ) as {{ axis }}_axis
        {%- endfor %}
        cross join (
            {%- if inner_axes %}
            select
                {%- for axis in inner_axes %}
                    {%- for column in grid_axis(axis).columns %}
                list({{ axis }}_axis.{{ column }} order by {{ ids | join(', ') }}) as {{ column }},
                    {%- endfor %}
                {%- endfor %}
                list(concat('|', {{ ids | join(", '|', ") }}) order by {{ ids | join(', ') }}) as cells_end
            from (
                {{ grid_axis(inner_axes[0]).query }}
            ) as {{ inner_axes[0] }}_axis
            {%- for axis in inner_axes[1:] %}
            cross join (
                {{ grid_axis(axis).query }}
            ) as {{ axis }}_axis
            {%- endfor %}
            {%- else %}
            select [''] as cells_end
            {%- endif %}
        ) as inner_axes
    ) as lots
{%- endmacro %}


{#-
    Step 2: generalise. An axis of the grid: its columns, the id first, and the query that lists its values. Zones are
    the published ones (small ones merged), natures and reasons of tows come in groups.
-#}
{% macro grid_axis(axis) -%}
    {%- set axes = {
        'area': ('stg_reference__zones', ['area_id', 'area_name']),
        'zone': ('stg_reference__zones', ['zone_id', 'zone_name', 'area_id', 'zone_key']),
        'place': ('stg_reference__places', ['place_id', 'place_name']),
        'nature_group': ('natures', ['nature_group']),
        'reason_group': ('tow_reasons', ['reason_group']),
        'delay_group': ('delay_bands', ['delay_group']),
        'direction': ('directions', ['direction']),
        'category': ('footfall_categories', ['category']),
        'time_band': ('hours', ['time_band']),
        'event_time_band': ('time_bands', ['time_band']),
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
