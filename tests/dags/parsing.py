"""Parse a DAG folder as the DAG processor does and print what was found, as JSON.

Usage: ``parsing.py FOLDER``, in a process of its own with AIRFLOW_HOME and CALANQUE_HOME set. Whatever parsing does
beyond reading Python (a connection, a name looked up, another program, a file touched under CALANQUE_HOME) is an error
of the file that does it.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

# The DAG processor has these loaded before it forks a process for a file: their cost is not that of our files.
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk import AssetAny
from airflow.serialization.serialized_objects import DagSerialization

OUTSIDE = ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.Popen")


def forbid_side_effects() -> None:
    home = os.environ["CALANQUE_HOME"]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in OUTSIDE:
            raise RuntimeError(f"parsing a DAG must not reach outside: {event}")
        if event in {"open", "os.mkdir", "os.listdir", "os.scandir"} and str(arguments[0]).startswith(home):
            raise RuntimeError(f"parsing a DAG must not look into the lake: {event}")

    sys.addaudithook(watch)


def describe(dag: Any) -> dict[str, Any]:
    condition = getattr(dag.timetable, "asset_condition", None)
    clock = getattr(dag.timetable, "timetable", dag.timetable)  # of those that assets begin as well
    deadlines = dag.deadline if isinstance(dag.deadline, list) else [dag.deadline] if dag.deadline else []
    return {
        "description": dag.description,
        "doc_md": dag.doc_md,
        "tags": sorted(dag.tags),
        "max_active_runs": dag.max_active_runs,
        "catchup": dag.catchup,
        "file": Path(dag.fileloc).name,
        "scheduled_by": sorted(asset.name for asset in condition.objects) if condition else [],
        "watched": sorted(watcher.name for asset in condition.objects for watcher in asset.watchers)
        if condition
        else [],
        "cron": getattr(clock, "expression", None),
        "time_zone": str(getattr(clock, "timezone", "")),
        "run_offset": getattr(clock, "run_offset", None),
        "key_format": getattr(clock, "key_format", None),
        "deadline_minutes": [alert.interval.total_seconds() / 60 for alert in deadlines],
        "scheduled_by_any": isinstance(condition, AssetAny),
        "serialized": json.dumps(DagSerialization.to_dict(dag), sort_keys=True),
        "tasks": {
            task.task_id: {
                "owner": task.owner,
                "doc_md": task.doc_md,
                "retries": task.retries,
                "retry_seconds": task.retry_delay.total_seconds(),
                "backs_off": bool(task.retry_exponential_backoff),
                "timeout_seconds": task.execution_timeout.total_seconds() if task.execution_timeout else None,
                "pool": task.pool,
                "priority": task.priority_weight,
                "tells": bool(task.on_failure_callback),
                "waits_for_people": type(task).__name__ == "HITLOperator",
                "does_nothing": type(task).__name__ == "EmptyOperator",
                "upstream": sorted(task.upstream_task_ids),
                "outlets": sorted(asset.name for asset in task.outlets),
            }
            for task in dag.tasks
        },
    }


def main(folder: str) -> None:
    forbid_side_effects()
    began = time.process_time()
    before = {name.split(".")[0] for name in sys.modules}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bag = BundleDagBag(folder, bundle_path=Path(folder), bundle_name="dags-folder")
    found = {
        "cpu_seconds": time.process_time() - began,
        "loaded": sorted({name.split(".")[0] for name in sys.modules} - before),
        "import_errors": bag.import_errors,
        "warnings": [str(warning.message) for warning in caught],
        "dags": {dag_id: describe(dag) for dag_id, dag in bag.dags.items()},
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
