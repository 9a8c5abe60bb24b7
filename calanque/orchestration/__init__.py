"""What Airflow loads beside the DAG files: the trigger that watches for files, what a failure does, deadlines.

Kept out of ``dags/`` because the triggerer imports by module name.
"""
