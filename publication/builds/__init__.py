"""Candidate marts: the dbt project run on conformed tables, and what it made."""
