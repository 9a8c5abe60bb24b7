"""Airflow's runs as lineage: what its listener is told, and what tasks then say of who started them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from openlineage_checks import check

from infra.openlineage import outbox
from infra.openlineage.runs import PARENT, ROOT, Run
from infra.settings import Settings

plugin = pytest.importorskip("calanque.orchestration.plugins.task_lineage")

DAG_RUN = SimpleNamespace(dag_id="land_tows", run_id="scheduled__2026-03-05")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CALANQUE_HOME", str(tmp_path))
    for variable in (PARENT, ROOT):  # what the listener sets goes with the test
        monkeypatch.setenv(variable, "")
    return Settings()


def task(**changes: Any) -> SimpleNamespace:
    named = {"dag_id": "land_tows", "task_id": "ingest", "run_id": DAG_RUN.run_id, "try_number": 1, "map_index": -1}
    return SimpleNamespace(**{**named, **changes})


def told(home: Settings) -> list[dict[str, Any]]:
    events = list(outbox.read(home))
    for event in events:
        check(event)
    return events


def test_a_task_is_part_of_its_dag_run_and_parent_of_what_it_starts(home: Settings) -> None:
    listener = plugin.Listener()
    listener.on_dag_run_running(DAG_RUN)
    listener.on_task_instance_running(task())
    Run(home, "ingest.tows").complete()
    listener.on_task_instance_success(task())
    listener.on_dag_run_success(DAG_RUN)
    events = told(home)
    assert [(event["job"]["name"], event["eventType"]) for event in events] == [
        ("land_tows", "START"),
        ("land_tows.ingest", "START"),
        ("ingest.tows", "COMPLETE"),
        ("land_tows.ingest", "COMPLETE"),
        ("land_tows", "COMPLETE"),
    ]
    dag_run, attempt, delivery, ended, over = (event["run"] for event in events)
    assert dag_run["runId"] == over["runId"]
    assert attempt["runId"] == ended["runId"]
    assert attempt["facets"]["parent"]["run"]["runId"] == dag_run["runId"]
    assert delivery["facets"]["parent"]["run"]["runId"] == attempt["runId"]
    assert delivery["facets"]["parent"]["root"]["run"]["runId"] == dag_run["runId"]
    assert ended["facets"]["calanque_airflow"]["state"] == "success"


def test_each_attempt_is_a_run_and_a_failure_is_told_without_its_words(home: Settings) -> None:
    listener = plugin.Listener()
    for number in (1, 2):
        listener.on_task_instance_running(task(try_number=number))
        listener.on_task_instance_failed(task(try_number=number), error=ValueError("AB-123-CD"))
    events = told(home)
    assert len({event["run"]["runId"] for event in events}) == 2
    assert [event["run"]["facets"]["errorMessage"]["message"] for event in events if event["eventType"] == "FAIL"] == [
        "ValueError",
        "ValueError",
    ]
    assert "AB-123-CD" not in str(events)


def test_two_lakes_never_share_a_dag_run(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin.Listener().on_dag_run_running(DAG_RUN)
    monkeypatch.setenv("CALANQUE_HOME", str(tmp_path / "other"))
    plugin.Listener().on_dag_run_running(DAG_RUN)
    (one,), (other,) = told(home), told(Settings())
    assert one["run"]["runId"] != other["run"]["runId"]


def test_a_state_set_by_hand_is_no_run(home: Settings) -> None:
    plugin.Listener().on_task_instance_success(task())
    assert told(home) == []


def test_a_listener_never_fails_a_task(home: Settings) -> None:
    listener = plugin.Listener()
    listener.on_task_instance_running(SimpleNamespace())
    listener.on_task_instance_failed(SimpleNamespace(), error=None)
    assert os.environ[PARENT] == ""
