{#-
    Step 3 of publish_counts: of the rows of one privacy unit (a vehicle in a month), only the first in time stays.

    Whatever one vehicle did, it then counts in one cell of each mart, so its presence changes each by one at most. Rows
    without a unit count for themselves. Ties are broken by the row's key, a keyed hash: the same row stays whatever the
    order of rows.
-#}
{% macro bound_contributions(rows, unit, month, order_by, row_key) -%}
    select *
    from {{ rows }}
    qualify
        row_number() over (
            partition by coalesce({{ unit }}, {{ row_key }}), {{ month }}
            order by {{ order_by | join(', ') }}, {{ row_key }}
        ) = 1
{%- endmacro %}
