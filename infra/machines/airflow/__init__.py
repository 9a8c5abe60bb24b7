"""Airflow: its servers, their setup, who may do what in it, and the calls that we make."""
