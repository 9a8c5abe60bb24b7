{#- Every cell of the public grid once and no other row: periods of the mart's release units x values of each axis. -#}
{% test complete_grid(model, mart) %}
with expected as (
    select count(*) as cells
    from (
        {{ public_grid(mart, measured=false) }}
    ) as grid
),

actual as (
    select
        count(*) as cells,
        (
            select count(*)
            from (
                select distinct {{ grain_of(mart) | join(', ') }}
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
