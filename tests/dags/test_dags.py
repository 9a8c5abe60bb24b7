"""The DAGs: derived from the register, documented, retried, connected by assets, parsed without side effects."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.machines.airflow.access import APPROVALS, POOLS
from ingestion.register import silos
from stewardship.site.words import LANGUAGES, Words

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "dags"
BUILD, RELEASE, VERIFY, CITY_DAY, RETENTION = "build_marts", "release_marts", "verify_marts", "city_day", "retention"
MOST_STATEMENTS = 10

# Every DAG there is, and how many of its runs may go on at once. Whoever adds one says so here.
EXPECTED = {
    **{f"land_{silo}": 1 for silo in silos()},
    BUILD: 1,
    RELEASE: 1,
    VERIFY: 1,
    CITY_DAY: 2,
    RETENTION: 1,
    "watch": 1,
    "watch_daily": 1,
    "publish_site": 1,
    "correct_release": 16,
    "change_contract": 16,
    "declare_cover": 16,
    "publish_as_it_is": 16,
}
WAIT_FOR_PEOPLE = {
    "correct_release",
    "change_contract",
    "declare_cover",
    "publish_as_it_is",
}  # no deadline: their answers have a month

# What a DAG file may import at its top: everything else is imported by the task that needs it, when it runs.
AT_TOP = {
    "__future__",
    "datetime",
    "functools",
    "operator",
    "typing",
    "airflow.sdk",
    "airflow.sdk.exceptions",
    "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.operators.hitl",
    "airflow.providers.standard.operators.trigger_dagrun",
}
OURS_AT_TOP = {
    "calanque.orchestration.reminders",
    "calanque.orchestration.assets",
    "calanque.orchestration.failures",
    "calanque.orchestration.when",
    "privacy.plan",
    "infra.city.profiles",
    "infra.settings",
    "ingestion.register",
}
IN_TASKS = ("calanque", "infra", "ingestion", "privacy", "publication", "stewardship")
ENGINES = {
    "dbt",
    "duckdb",
    "minio",
    "numpy",
    "pandas",
    "pandera",
    "polars",
    "psycopg",
    "pyarrow",
    "pyiceberg",
    "shapely",
}
IN_PLAIN_TIME = 0.999  # seconds of processor time for all files together, so for each of them

Found = dict[str, Any]


def parse(folder: Path, scratch: Path, seed: int) -> subprocess.Popen[str]:
    home = scratch / f"airflow-{seed}"
    home.mkdir()
    return subprocess.Popen(
        (sys.executable, Path(__file__).with_name("parsing.py"), folder),
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "CALANQUE"))},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
            "CALANQUE_HOME": str(scratch / "no-lake"),
            "PYTHONHASHSEED": str(seed),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcome(parser: subprocess.Popen[str], out: str, errors: str) -> Found:
    assert parser.returncode == 0, errors
    return dict(json.loads(out.splitlines()[-1]))


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Found, Found]:
    """The folder parsed by two processes that hash differently."""
    scratch = tmp_path_factory.mktemp("parsed")
    parsers = [parse(DAGS, scratch, seed) for seed in (1, 2)]
    answers = [(parser, *parser.communicate(timeout=300)) for parser in parsers]
    first, second = (outcome(*answer) for answer in answers)
    assert not (scratch / "no-lake").exists()
    return first, second


@pytest.fixture(scope="module")
def dags(twice: tuple[Found, Found]) -> dict[str, Found]:
    return dict(twice[0]["dags"])


@pytest.fixture(scope="module")
def landing(dags: dict[str, Found]) -> dict[str, Found]:
    return {silo: dags[f"land_{silo}"] for silo in silos()}


def test_every_file_parses_without_an_error_or_a_warning(twice: tuple[Found, Found]) -> None:
    for found in twice:
        assert found["import_errors"] == {}
        assert found["warnings"] == []


def test_parsing_is_quick_and_loads_no_engine(twice: tuple[Found, Found]) -> None:
    for found in twice:
        assert not (ENGINES | {"publication"}) & set(found["loaded"])
    assert min(found["cpu_seconds"] for found in twice) < IN_PLAIN_TIME


def test_stewards_may_answer_where_something_waits_for_them(dags: dict[str, Found]) -> None:
    asking = {name for name, dag in dags.items() if any(said["waits_for_people"] for said in dag["tasks"].values())}
    assert asking == set(APPROVALS) == WAIT_FOR_PEOPLE


def test_these_are_the_dags_and_no_other(dags: dict[str, Found]) -> None:
    assert {name: dag["max_active_runs"] for name, dag in dags.items()} == EXPECTED


def test_serialised_alike_by_every_process(twice: tuple[Found, Found]) -> None:
    first, second = ({name: dag["serialized"] for name, dag in found["dags"].items()} for found in twice)
    assert first == second


def test_every_dag_says_what_it_is_and_when_it_is_late(dags: dict[str, Found]) -> None:
    for name, dag in dags.items():
        assert len(dag["description"]) > 20, name
        assert dag["doc_md"].strip().startswith("### "), name
        assert dag["tags"], name
        assert dag["catchup"] is False, name
        assert len(dag["deadline_minutes"]) == (0 if name in WAIT_FOR_PEOPLE else 1), name
        for minutes in dag["deadline_minutes"]:
            assert 1 <= minutes <= 24 * 60, name


def test_every_task_has_an_owner_a_doc_a_limit_and_a_pool_and_tells_of_its_failure(dags: dict[str, Found]) -> None:
    for name, dag in dags.items():
        for task, said in dag["tasks"].items():
            assert said["owner"] not in {"", "airflow"}, (name, task)
            assert "," not in said["owner"], (name, task)  # Airflow takes a comma for a second owner
            assert len(said["doc_md"]) > 20, (name, task)
            assert said["pool"] in {*POOLS, "default_pool"}, (name, task)
            if said["waits_for_people"] or said["does_nothing"]:
                continue
            assert said["retries"] >= 2, (name, task)
            assert said["retry_seconds"] > 0, (name, task)
            assert said["backs_off"], (name, task)
            assert said["timeout_seconds"], (name, task)
            assert said["tells"], (name, task)


def test_heavy_work_is_in_a_pool_of_its_own(dags: dict[str, Found]) -> None:
    for name in (BUILD, RELEASE, VERIFY):
        assert {task["pool"] for task in dags[name]["tasks"].values()} == {"marts"}, name
    for silo in silos():
        assert {task["pool"] for task in dags[f"land_{silo}"]["tasks"].values()} == {"ingest"}, silo
    assert dags[CITY_DAY]["tasks"]["publish"]["pool"] == "marts"


def test_what_arrives_goes_before_what_is_done_again(dags: dict[str, Found], landing: dict[str, Found]) -> None:
    again = max(task["priority"] for task in dags[CITY_DAY]["tasks"].values())
    assert all(task["priority"] > again for dag in landing.values() for task in dag["tasks"].values())


def test_a_file_and_the_cadence_of_the_register_begin_a_landing_run(landing: dict[str, Found]) -> None:
    for silo, dag in landing.items():
        assert dag["scheduled_by"] == [f"drop.{silo}"]
        assert dag["watched"] == [f"bucket.{silo}", f"drop.{silo}"]  # an object in the store, a file in the folder
        assert (dag["cron"], dag["time_zone"]) == (silos()[silo].cadence, "Europe/Paris")


def test_a_city_day_is_a_partition(dags: dict[str, Found]) -> None:
    dag = dags[CITY_DAY]
    assert (dag["cron"], dag["time_zone"], dag["key_format"]) == ("0 0 * * *", "Europe/Paris", "%Y-%m-%d")
    assert dag["run_offset"] == -2
    assert {task for task, said in dag["tasks"].items() if not said["upstream"]} == set(silos())
    for end in ("publish", "every_silo"):
        assert dag["tasks"][end]["upstream"] == sorted(silos())


def test_a_landing_dag_says_what_the_register_says(landing: dict[str, Found]) -> None:
    for silo, dag in landing.items():
        known = silos()[silo]
        assert {task["owner"] for task in dag["tasks"].values()} == {known.steward.replace(",", " -")}
        assert silo in dag["tags"]
        for said in (known.title, known.purpose, known.legal_basis, known.steward, known.cadence):
            assert said in dag["doc_md"]


def test_assets_lead_from_landing_to_build_to_release(dags: dict[str, Found], landing: dict[str, Found]) -> None:
    for silo, dag in landing.items():
        assert dag["tasks"]["ingest"]["outlets"] == [f"conformed.{silo}", f"days.{silo}"]
    conformed = [f"conformed.{silo}" for silo in landing]
    assert dags[BUILD]["scheduled_by"] == sorted(conformed)
    assert dags[BUILD]["scheduled_by_any"]
    assert dags[RELEASE]["scheduled_by"] == dags[BUILD]["tasks"]["build"]["outlets"] != []
    assert dags[RELEASE]["tasks"]["release"]["outlets"] == ["marts", "published"]
    produced = {outlet for dag in dags.values() for task in dag["tasks"].values() for outlet in task["outlets"]}
    assert produced == {
        *conformed,
        *(f"days.{silo}" for silo in landing),
        *dags[RELEASE]["scheduled_by"],
        "marts",
        "published",
    }


def test_a_silo_lands_before_it_is_ingested(landing: dict[str, Found]) -> None:
    for dag in landing.values():
        assert {task: said["upstream"] for task, said in dag["tasks"].items()} == {"land": [], "ingest": ["land"]}


def test_a_file_that_reaches_outside_when_parsed_is_caught(tmp_path: Path) -> None:
    """The control: without it, a watch that sees nothing would look like DAGs that do nothing."""
    folder = tmp_path / "dags"
    shutil.copytree(DAGS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    beginning = "from airflow.sdk import DAG\nimport os, socket\n"
    dag = "with DAG('extra', schedule=None):\n    pass\n"
    (folder / "connects.py").write_text(f"{beginning}socket.create_connection(('127.0.0.1', 9))\n{dag}")
    (folder / "reads.py").write_text(f"{beginning}open(os.environ['CALANQUE_HOME'] + '/secrets/pg-admin')\n{dag}")
    (folder / "warns.py").write_text(f"{beginning}import warnings\nwarnings.warn('old')\n{dag}")
    parser = parse(folder, tmp_path, 1)
    found = outcome(parser, *parser.communicate(timeout=300))
    assert set(found["import_errors"]) == {"connects.py", "reads.py"}
    assert all("parsing a DAG must not" in said for said in found["import_errors"].values())
    assert "old" in found["warnings"]
    assert "extra" in found["dags"]


def problems(source: str) -> list[str]:
    """Why the source of a DAG file is more than wiring; nothing when it is not."""
    tree = ast.parse(source)
    top = {id(node) for node in tree.body}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name in [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or "."]:
                ours = name.split(".")[0] in IN_TASKS
                if not (name in AT_TOP | OURS_AT_TOP or (ours and id(node) not in top)):
                    found.append(f"line {node.lineno} imports {name}")
        if isinstance(node, ast.FunctionDef) and not _holds_a_dag(node):
            inside = (inner for statement in node.body for inner in ast.walk(statement))
            count = sum(isinstance(inner, ast.stmt) and not isinstance(inner, ast.ImportFrom) for inner in inside)
            if count > MOST_STATEMENTS:
                found.append(f"{node.name} has {count} statements")
        if isinstance(node, ast.While | ast.Try | ast.Lambda | ast.ClassDef):
            found.append(f"line {node.lineno} has logic of its own")
    return found


def _holds_a_dag(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.With) for node in function.body)


@pytest.mark.parametrize("path", sorted(DAGS.glob("*.py")), ids=lambda path: path.name)
def test_dags_are_wiring_only(path: Path) -> None:
    assert problems(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import polars as pl",
        "from infra.registry import report",
        "def task():\n    import duckdb\n",
        "def task():\n    from minio import Minio\n",
        "def task():\n" + "    a = 1\n" * (MOST_STATEMENTS + 1),
        "def task():\n    try:\n        pass\n    finally:\n        pass\n",
    ],
)
def test_the_rule_of_wiring_can_fail(source: str) -> None:
    assert problems(source)


def test_only_files_that_hold_dags_are_parsed(dags: dict[str, Found]) -> None:
    assert {dag["file"] for dag in dags.values()} == {path.name for path in DAGS.glob("*.py")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_work_has_a_name_on_the_steward_site(language: str) -> None:
    words = Words(language)
    for dag_id in EXPECTED:
        if not dag_id.startswith("land_"):  # called after their silos
            words.name("work", dag_id)
    assert not words.missing, f"translate in stewardship/site/locale: {sorted(words.missing, key=str)}"
