"""What Airflow loads beside the DAG files: the trigger that watches for files, what a failure does, deadlines.

A composition root like ``dags/`` itself, kept here because the triggerer imports by module name.
"""
