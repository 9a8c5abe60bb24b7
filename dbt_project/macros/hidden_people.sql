{#-
    What the cells of footfall count whatever is delivered: as much as the operator may have hidden of them.

    The operator hides counts under its threshold t, so a cell (zone, category, hour) that is not delivered may hold
    anything up to t - 1. It counts t - 1: then one device more changes it by one at most, while taking it for nothing would
    let the device that reaches the threshold change it by t. What is delivered counts as far as it is more than that
    (people_over_hidden). The grid is public, so these people are a number per row, and no cell has to be listed.

    periods: columns of stg_reference__hours, by the name they get. place: the column of stg_reference__zones that stands for
    places. Columns: these, category, people.
-#}
{% macro hidden_people(periods, place) -%}
        select
            {%- for name in periods %}
            hours.{{ name }},
            {%- endfor %}
            zones.{{ place }},
            categories.category,
            settings.footfall_hidden * hours.hours * zones.zones as people
        from (
            select
                {%- for name, column in periods.items() %}
                {{ column }} as {{ name }},
                {%- endfor %}
                sum(hours_covered) as hours
            from {{ ref('stg_reference__hours') }}
            where silo = 'telecom_footfall'
            group by {{ periods.values() | join(', ') }}
        ) as hours
        cross join (
            select
                {{ place }},
                count(*) as zones
            from {{ ref('stg_reference__zones') }}
            where delivered_zone_id <> 'unknown'
            group by {{ place }}
        ) as zones
        cross join {{ ref('footfall_categories') }} as categories
        cross join {{ ref('stg_reference__settings') }} as settings
{%- endmacro %}
