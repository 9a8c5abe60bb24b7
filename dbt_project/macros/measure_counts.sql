{#-
    Step 4 of publish_counts: counts, laid over the public grid, with noise. The only approved way out of conformed data.

    grid, counts: names of CTEs. keys: the columns of both that make a cell. count: the integer column of counts.
    Columns: those of the grid; exact, which never leaves the build; measured, which is all that later steps may use.

    The noise of a cell is a function of the noise key and of mart, edition, unit and cell, so the same unit measured
    again is the same, and an other edition has noise of its own. Its size is the privacy plan's: of discrete Laplace
    noise, bound / epsilon; of discrete Gaussian noise, the variance bound / (2 rho).
-#}
{% macro measure_counts(mart, grid, counts, keys, count) -%}
    with laid as (
        select
            {{ grid }}.*,
            coalesce({{ counts }}.{{ count }}, 0) as exact,
            concat_ws('|', {{ grid }}.{{ keys | join(', ' ~ grid ~ '.') }}) as cell
        from {{ grid }}
        left join {{ counts }}
            on {% for key in keys -%}
                {{ grid }}.{{ key }} = {{ counts }}.{{ key }}
                {%- if not loop.last %}
            and {% endif -%}
            {%- endfor %}
        -- A join hands cells on in small lots, a sort in great ones; noise is drawn for a lot at a time.
        order by cell
    )

    select
        laid.* exclude (cell),
        laid.exact + {{ noise(mart, 'laid.edition', 'laid.unit_start', 'laid.cell') }} as measured
    from laid
{%- endmacro %}


{#- The noise of a cell; the function is registered by the dbt plugin (infra/dbt_plugin.py). -#}
{% macro noise(mart, edition, unit_start, cell) -%}
    {{ return(adapter.dispatch('noise')(mart, edition, unit_start, cell)) }}
{%- endmacro %}

{% macro duckdb__noise(mart, edition, unit_start, cell) -%}
    {%- set plan = privacy_plan(mart) -%}
    {%- set source = plan['mechanism'] ~ ' ' ~ plan['spends'] ~ ' ' ~ plan['bound'] ~ ' ' ~ mart -%}
    noise(concat_ws(' ', '{{ source }}', {{ edition }}, {{ unit_start }}), {{ cell }})
{%- endmacro %}
