{#-
    Step 4 of publish_counts: counts, laid over the public grid, with noise. The only approved way out of conformed data.

    counts: name of a CTE with period_start, the id of each axis of the mart (or the column of the axis that ends in _key,
    to compare integers instead of texts; it stays behind), and the integer column count.
    Columns: those of the grid; exact, which never leaves the build; measured, which is all that later steps may use.
-#}
{% macro measure_counts(mart, counts, count) -%}
    {%- set plan = privacy_plan(mart) -%}
    {%- set keys = ['period_start'] -%}
    {%- for axis in plan['axes'] + plan.get('summed', []) -%}
        {%- set columns = axis_columns(axis) -%}
        {%- do keys.append(columns[-1] if columns[-1].endswith('_key') else columns[0]) -%}
    {%- endfor -%}
    select
        grid.* exclude (noise{% for key in keys if key.endswith('_key') %}, {{ key }}{% endfor %}),
        coalesce({{ counts }}.{{ count }}, 0) as exact,
        coalesce({{ counts }}.{{ count }}, 0) + grid.noise as measured
    from (
        {{ public_grid(mart) }}
    ) as grid
    left join {{ counts }}
        on {% for key in keys -%}
            grid.{{ key }} = {{ counts }}.{{ key }}
            {%- if not loop.last %}
        and {% endif -%}
        {%- endfor %}
{%- endmacro %}


{#-
    The noise of some cells, in their order: an array. cells_begin: what the names of all of them begin with; cells_end:
    an array of how each goes on. The function is registered by the dbt plugin (publication/builds/dbt_plugin.py).

    The noise of a cell is a function of the noise key and of mart, edition, unit and cell, so the same unit measured
    again is the same, and an other edition has noise of its own. It is discrete Gaussian noise, of the variance that the
    privacy plan comes to: bound / (2 spends).
-#}
{% macro noise(mart, edition, unit_start, cells_begin, cells_end) -%}
    {{ return(adapter.dispatch('noise')(mart, edition, unit_start, cells_begin, cells_end)) }}
{%- endmacro %}

{% macro duckdb__noise(mart, edition, unit_start, cells_begin, cells_end) -%}
    {%- set plan = privacy_plan(mart) -%}
    {%- set source = plan['spends'] ~ ' ' ~ plan['bound'] ~ ' ' ~ mart -%}
    noise(concat_ws(' ', '{{ source }}', {{ edition }}, {{ unit_start }}), {{ cells_begin }}, {{ cells_end }})
{%- endmacro %}
