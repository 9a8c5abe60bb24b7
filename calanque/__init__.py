"""How people drive the lake: the command line, what Airflow loads beside the DAG files, the demo city."""
