{#-
    Step 1 of publish_counts: the fixed public grid. Every period of the units that are to be released x every value of
    each axis, whatever the data: which rows a mart has never depends on anybody.

    mart: silo, period and axes are those of the privacy plan. measured: with the axes that are summed up after measuring, and
    each cell with its noise (step 4), which depends on nobody either.
    Columns: unit_start, unit_end and edition of the release unit; quarter_start, period_start, period_end (the period's
    last day), days_covered (how many of its days somebody declared, which are those of the calendar) and
    days_in_period; then the columns of each axis; noise.

    A cell is named by its period and the id of each axis, joined by bars. Noise is drawn for a lot of cells at a time,
    those that differ in the last two axes only: cell by cell it takes three times as long or more.
-#}
{% macro public_grid(mart, measured=true) -%}
    {%- set plan = privacy_plan(mart) -%}
    {%- set period, axes = plan['period'], plan['axes'] + (plan.get('summed', []) if measured else []) -%}
    {%- set period_start = {'day': 'day', 'month': 'month_start', 'quarter': 'quarter_start'}[period] -%}
    {%- set period_end = {'day': 'day', 'month': 'month_end', 'quarter': 'quarter_end'}[period] -%}
    {%- set outer_axes, inner_axes = axes[:-2], axes[-2:] -%}
    {%- set ids = [] -%}
    {%- for axis in inner_axes %}{% do ids.append(axis ~ '_axis.' ~ axis_columns(axis)[0]) %}{% endfor -%}
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
            {%- for column in axis_columns(axis) %},
        lots.{{ column }}
            {%- endfor %}
        {%- endfor %}
        {%- for axis in inner_axes %}
            {%- for column in axis_columns(axis) %},
        unnest(lots.{{ column }}) as {{ column }}
            {%- endfor %}
        {%- endfor %}
        {%- if measured %},
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
                {{ axis }}_axis.{{ axis_columns(axis)[0] }}
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
                and calendar.silo = '{{ plan['silo'] }}'
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
            {{ axis_values(axis) }}
        ) as {{ axis }}_axis
        {%- endfor %}
        cross join (
            {%- if inner_axes %}
            select
                {%- for axis in inner_axes %}
                    {%- for column in axis_columns(axis) %}
                list({{ axis }}_axis.{{ column }} order by {{ ids | join(', ') }}) as {{ column }},
                    {%- endfor %}
                {%- endfor %}
                list(concat('|', {{ ids | join(", '|', ") }}) order by {{ ids | join(', ') }}) as cells_end
            from (
                {{ axis_values(inner_axes[0]) }}
            ) as {{ inner_axes[0] }}_axis
            {%- for axis in inner_axes[1:] %}
            cross join (
                {{ axis_values(axis) }}
            ) as {{ axis }}_axis
            {%- endfor %}
            {%- else %}
            select [''] as cells_end
            {%- endif %}
        ) as inner_axes
    ) as lots
{%- endmacro %}


{#- Step 2: generalise. The columns of an axis of the privacy plan, its id first. -#}
{% macro axis_columns(axis) -%}
    {%- set axes = var('privacy')['axes'] -%}
    {%- if axis not in axes -%}
        {{ exceptions.raise_compiler_error("no grid axis '" ~ axis ~ "'; there are: " ~ axes.keys() | join(', ')) }}
    {%- endif -%}
    {{ return(axes[axis]['columns']) }}
{%- endmacro %}


{#- The query that lists the values of an axis. -#}
{% macro axis_values(axis) -%}
    select distinct {{ axis_columns(axis) | join(', ') }} from {{ ref(var('privacy')['axes'][axis]['table']) }}
{%- endmacro %}


{#- The columns that tell the published cells of a mart apart. -#}
{% macro grain_of(mart) -%}
    {%- set grain = ['period_start'] -%}
    {%- for axis in privacy_plan(mart)['axes'] %}{% do grain.append(axis_columns(axis)[0]) %}{% endfor -%}
    {{ return(grain) }}
{%- endmacro %}
