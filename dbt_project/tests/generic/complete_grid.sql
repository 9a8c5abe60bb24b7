{#- Every cell of the public grid once and no other row: periods of the silo's calendar x values of each axis. -#}
{% test complete_grid(model, silo, period, axes, grain) %}
{%- set period_start = {'day': 'day', 'month': 'month_start', 'quarter': 'quarter_start'}[period] %}
with expected as (
    select
        (select count(distinct {{ period_start }}) from {{ ref('stg_reference__calendar') }} where silo = '{{ silo }}')
        {%- for axis in axes %}
        * (select count(*) from ({{ grid_axis(axis).query }}) as {{ axis }}_axis)
        {%- endfor %} as cells
),

actual as (
    select
        count(*) as cells,
        (
            select count(*)
            from (
                select distinct {{ grain | join(', ') }}
                from {{ model }}
            ) as grains
        ) as distinct_cells
    from {{ model }}
)

select
    expected.cells as cells_expected,
    actual.cells as cells_found,
    actual.distinct_cells as distinct_cells_found
from expected
cross join actual
where
    actual.cells != expected.cells
    or actual.distinct_cells != expected.cells
{% endtest %}
