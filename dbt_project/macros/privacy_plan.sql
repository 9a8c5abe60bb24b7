{#- What the privacy plan (vars.privacy in dbt_project.yml) says of a mart: a dictionary. -#}
{% macro privacy_plan(mart) -%}
    {%- set marts = var('privacy')['marts'] -%}
    {%- if mart not in marts -%}
        {{ exceptions.raise_compiler_error("mart '" ~ mart ~ "' is not in the privacy plan (dbt_project.yml)") }}
    {%- endif -%}
    {{ return(marts[mart]) }}
{%- endmacro %}


{#- The smallest measured count, noise included, that a mart shows. -#}
{% macro display_threshold(mart) -%}
    {{ return(privacy_plan(mart)['threshold']) }}
{%- endmacro %}


{#- What a mart's measurements are worth beside those of its siblings: the inverse of their variance, as an integer. -#}
{% macro precision_of(mart) -%}
    {%- set plan = privacy_plan(mart) -%}
    {{ return((2000000000 * (plan['spends'] | float) / plan['bound']) | round | int) }}
{%- endmacro %}
