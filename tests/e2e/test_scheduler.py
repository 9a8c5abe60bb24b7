"""A demo city through the real Airflow scheduler: complete, repeatable, private, and still right after kills."""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import psycopg
import pytest
from pyiceberg.expressions import EqualTo

from calanque.cli import following
from calanque.demo import outcome
from calanque.demo.generate import generate
from calanque.demo.score import score
from calanque.demo.truth import Truth
from infra import database, object_store, registry
from infra.calendar import clock
from infra.catalog import open_catalog
from infra.city.profile import load_city
from infra.machines.airflow import api as airflow_api
from infra.machines.airflow.api import AirflowApi
from infra.machines.provisioning import admit_deliverer
from infra.machines.services import lake as services
from infra.machines.services import processes
from infra.settings import Settings
from ingestion.conformed import tables
from ingestion.delivery import collecting
from ingestion.delivery.arrivals import NOTE_SUFFIX, waiting
from ingestion.register import silos
from privacy.plan import plan

pytestmark = [pytest.mark.live, pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(1800)]  # a demo, then more

MARTS = ("build_marts", "release_marts")
PARTNERS = "crowd_flows"
"""The silo whose later deliveries come by S3."""
PATIENCE = 900.0  # seconds: the machine may be busy

Report = dict[str, dict[str, dict[str, Any]]]


def calanque(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "calanque.cli", *arguments),
        env={**os.environ, "CALANQUE_HOME": str(home), "CALANQUE_QUIET": "0", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


def demo(home: Path) -> str:
    ran = calanque("demo", "--days", "3", "--scale", "0.05", home=home)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    return ran.stdout


def report(home: Path) -> Report:
    answer = calanque("report", "--json", home=home)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="calanque-e2e-"))
    home.chmod(0o755)  # under root PostgreSQL runs as another account, which has to pass through
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CALANQUE_OBJECT_STORE")  # as a newcomer has it: MinIO where it was built
        admit_deliverer(Settings(home=home), PARTNERS)
        try:
            yield home
        finally:
            services.down(Settings(home=home, quiet=True))
            shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def first(home: Path) -> str:
    """What the first ``calanque demo`` of this lake said."""
    return demo(home)


@pytest.fixture(scope="module")
def city(home: Path, first: str) -> Settings:
    """The lake after the demo."""
    return Settings(home=home, quiet=True)


@pytest.fixture
def api(city: Settings) -> Iterator[AirflowApi]:
    with airflow_api.connect(city) as api:
        yield api


def truth_of_demo(settings: Settings) -> Truth:
    return Truth.read(settings.home / "demo" / "truth.json")


def deliver(settings: Settings, *, seed: int, start: date, tows: Path | None = None) -> Truth:
    """Two more days of the demo city, faults included, in the drop folder; the tows in another folder, if one is given.

    Every silo's files are written elsewhere first, since a file that arrives is landed at once. Those of one silo are
    put into the object store by a partner who may do nothing else.
    """
    staged = settings.home / "staged"
    truth = generate(load_city(settings), seed=seed, start=start, days=2, scale=0.05, drop_dir=staged, faults=True)
    for path in sorted(staged.glob("*/*")):
        if path.parent.name == PARTNERS:
            put(settings, path)
            continue
        folder = tows if tows and path.parent.name == "tows" else settings.drop_dir / path.parent.name
        path.rename(folder / path.name)
    return truth


def put(settings: Settings, path: Path) -> None:
    """Deliver a file by S3, with what its note says."""
    if not path.name.endswith(NOTE_SUFFIX):
        note = path.with_name(path.name + NOTE_SUFFIX)
        said = json.loads(note.read_text()) if note.exists() else {}
        said = {name: ",".join(value) if isinstance(value, list) else value for name, value in said.items()}
        partner = object_store.client(settings, f"deliver-{PARTNERS}")
        partner.fput_object("drop", f"{PARTNERS}/{path.name}", str(path), metadata=said)
        note.unlink(missing_ok=True)
        path.unlink()


def warnings(settings: Settings) -> set[tuple[str, str]]:
    """Kind and key of what people are warned of now."""
    with database.connect(settings, "pipeline", "lake") as connection:
        return set(connection.execute("select kind, key from registry.alert where resolved_at is null").fetchall())


def eventually(condition: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"this did not happen: {what}"
        time.sleep(0.2)


def land_everything(api: AirflowApi) -> tuple[list[str], datetime]:
    since = datetime.now(UTC) - timedelta(seconds=1)
    dag_ids = [f"land_{silo}" for silo in silos()]
    for dag_id in dag_ids:
        api.trigger(dag_id)
    return dag_ids, since


def progress(settings: Settings, silo: str) -> tuple[int, int]:
    """How many deliveries of a silo have landed, and how many of them are settled."""
    with database.connect(settings, "pipeline", "lake") as connection:
        known = {
            found.silo: (found.deliveries, found.deliveries - found.landed) for found in registry.report(connection)
        }
    return known.get(silo, (0, 0))


def assert_perfect(settings: Settings, truth: Truth) -> None:
    found = score(truth, outcome.read(settings))
    assert found.is_perfect, found.complaints


def assert_marts_are_current(settings: Settings) -> None:
    """Nothing is due, nothing held back, and what BI shows is the last release."""
    ran = calanque("run", home=settings.home)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "no mart changed"
    shown = report(settings.home)["marts"]
    with database.connect(settings, "analyst", "bi") as analyst:
        in_bi = dict(analyst.execute("select mart, version from marts.release_info").fetchall())
    assert in_bi == {mart: said["release"] for mart, said in shown.items()}
    assert not [mart for mart, said in shown.items() if said["held_back"]]


def test_the_demo_finds_every_injected_fault_and_says_how_to_look(city: Settings, first: str) -> None:
    injected = len(truth_of_demo(city).faults)
    assert injected > 50
    assert f"faults found: {injected} of {injected} (100.0%)" in first
    assert re.search(r"sound rows turned away: 0 of [1-9]", first)
    assert re.search(r"sound deliveries turned away: 0 of [1-9]", first)
    for where in ("Airflow:  http://127.0.0.1:", "calanque env", "make down"):
        assert where in first
    assert_perfect(city, truth_of_demo(city))


def test_the_report_accounts_for_every_row(city: Settings) -> None:
    said = report(city.home)
    assert set(said) == {"silos", "marts", "waiting"}
    assert set(said["silos"]) == set(silos())
    for silo, found in said["silos"].items():
        assert found["rows_in"] == found["accepted"] + found["quarantined"], silo
        assert found["accepted"] > 0, silo
        # A row that breaks two rules counts once as a row, and under both rules.
        assert sum(found["by_rule"].values()) >= found["quarantined"] > 0, silo
        assert found["deliveries"] == found["committed"] + found["refused"], silo
        assert found["refused"] > 0, silo
    assert set(said["marts"]) == set(plan().marts)
    for mart, found in said["marts"].items():
        assert set(found) >= {"rows", "release", "period_start", "period_end"}, mart
        assert found["release"] >= 1, mart
        assert found["rows"] > 0, mart


def test_what_was_refused_is_a_note_on_the_task_in_the_grid(city: Settings, api: AirflowApi) -> None:
    with database.connect(city, "pipeline", "lake") as connection:
        refused = dict(
            connection.execute(
                """
            select silo, array_agg(file_name) from registry.delivery where status = 'refused' group by silo
            """
            ).fetchall()
        )
    assert refused.keys() == silos().keys()
    for silo, names in refused.items():
        tasks = api._call("GET", f"/api/v2/dags/land_{silo}/dagRuns/~/taskInstances")["task_instances"]
        notes = [task["note"] for task in tasks if task["note"]]
        assert sum(int(note.split()[1].rstrip(".")) for note in notes) >= len(names)
        assert any(f"{name} (" in note for name in names for note in notes), silo


def test_the_analyst_reads_every_mart_and_nothing_else(city: Settings) -> None:
    marts = report(city.home)["marts"]
    shell = calanque("env", home=city.home).stdout
    uri = re.search(r"^export CALANQUE_BI_URI='?([^'\n]+)", shell, re.MULTILINE)
    assert uri
    with psycopg.connect(uri[1], autocommit=True) as analyst:
        for mart, said in marts.items():
            counted = analyst.execute(f"select count(*), min(period_start), max(period_end) from marts.{mart}")
            rows, start, end = counted.fetchone() or (0, None, None)
            assert (rows, str(start), str(end)) == (said["rows"], said["period_start"], said["period_end"]), mart
        with pytest.raises(psycopg.errors.Error):
            analyst.execute("delete from marts.fines_by_day")
    with pytest.raises(psycopg.Error):  # registry and Iceberg catalog are in another database
        psycopg.connect(uri[1].rsplit("/", 1)[0] + "/lake", connect_timeout=10).close()
    store = object_store.client(city, "analyst")
    assert next(store.list_objects("lake", prefix="marts/", recursive=True)).object_name
    for bucket, prefix in (("lake", "conformed/"), ("landing", ""), ("quarantine", ""), ("receipts", "")):
        with pytest.raises(Exception, match=r"(?i)denied|forbidden"):
            next(store.list_objects(bucket, prefix=prefix, recursive=True))


def test_no_task_logs_an_error_or_a_warning_but_to_people(city: Settings) -> None:
    """What is wrong with deliveries is told to their stewards, and so logged; nothing else may be wrong."""
    logs = list((city.logs_dir / "airflow").rglob("attempt=*.log"))
    assert logs
    levels = re.compile(rb'"level":\s*"(warning|error|critical)"|Traceback')
    to_people = re.compile(rb'"logger":\s*"stewardship\.alerts|rows lie on \d+ days that nobody declared')
    said = [
        (str(path.relative_to(city.home)), line[:300])
        for path in logs
        for line in path.read_bytes().splitlines()
        if levels.search(line) and not to_people.search(line)
    ]
    assert said == []


def test_the_second_demo_changes_nothing(city: Settings) -> None:
    before = report(city.home)
    said = demo(city.home)
    assert "new releases: 0: every mart is as it was" in said
    assert report(city.home) == before
    assert_perfect(city, truth_of_demo(city))


def rows_of(settings: Settings, silo: str, first: date, last: date) -> pl.DataFrame:
    """The conformed rows of the first dataset of a silo on these days, in an order of their own."""
    table = tables.ensure(open_catalog(settings, "pipeline"), silos()[silo].datasets[0])
    rows = pl.scan_iceberg(table, storage_options=object_store.polars_options(settings, "pipeline"))
    found = rows.filter(pl.col("event_date").is_between(first, last)).collect()
    return found.select(sorted(found.columns)).sort(sorted(found.columns))


@pytest.mark.long
def test_a_backfill_brings_back_lost_days_while_others_arrive(city: Settings, api: AirflowApi) -> None:
    demo_city = truth_of_demo(city)
    days = clock.quarter_end(demo_city.start) - timedelta(days=1), clock.quarter_end(demo_city.start)
    before = {silo: rows_of(city, silo, *days) for silo in silos()}
    for silo in ("tows", "crowd_flows"):
        table = tables.ensure(open_catalog(city, "pipeline"), silos()[silo].datasets[0])
        table.delete(EqualTo("event_date", days[1].isoformat()))
        assert rows_of(city, silo, *days).height < before[silo].height
    since = datetime.now(UTC) - timedelta(seconds=1)
    truth = deliver(city, seed=7, start=demo_city.start - timedelta(days=2))  # the days before, of the same city
    ran = calanque("backfill", "--from", str(days[0]), "--to", str(days[1]), "--json", home=city.home)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    answer = json.loads(ran.stdout)
    assert answer["days"] == {str(day): "success" for day in days}
    assert answer["compared"] > 0
    eventually(lambda: at_rest(city, api, since), "everything is over")
    for silo, rows in before.items():
        assert rows_of(city, silo, *days).equals(rows), silo
    assert_perfect(city, truth)
    assert_perfect(city, truth_of_demo(city))


@contextmanager
def held(settings: Settings, lock: str) -> Iterator[Callable[[], psutil.Process | None]]:
    """Hold a lock of the lake; whoever runs into it stands still there, and is what the result of this finds."""
    with database.connect(settings, "pipeline", "lake", autocommit=True) as connection:

        def waiting() -> psutil.Process | None:
            ports = connection.execute(
                "select client_port from pg_stat_activity where %s = any(pg_blocking_pids(pid))",
                [connection.info.backend_pid],
            ).fetchall()
            for _, process in processes.of_lake(settings):
                with suppress(psutil.Error):
                    if any(open_.laddr and (open_.laddr.port,) in ports for open_ in process.net_connections("tcp")):
                        return process
            return None

        with registry.locked(connection, lock):
            yield waiting


def kill(find: Callable[[], psutil.Process | None], what: str) -> None:
    """Kill the process that is found, as the kernel does when memory runs out."""
    found: list[psutil.Process] = []

    def appears() -> bool:
        found.extend(filter(None, [find()]))
        return bool(found)

    eventually(appears, what)
    found[0].kill()


def states(api: AirflowApi, since: datetime) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for run in api.runs(since):
        found.setdefault(run.dag_id, set()).add(run.state)
    return found


def at_rest(settings: Settings, api: AirflowApi, since: datetime) -> bool:
    """Whether no file waits, no delivery does, and every run is over."""
    arrived = [arrival for silo in silos() for arrival in waiting(settings.drop_dir / silo)]
    put_there = collecting.waiting(settings, PARTNERS)
    landed = [silo for silo in silos() for all_, settled in [progress(settings, silo)] if all_ > settled]
    going_on = {"queued", "running"} & set().union(*states(api, since).values())
    return not arrived and not put_there and not landed and not going_on


def fails(api: AirflowApi, dag_id: str, since: datetime) -> bool:
    """Whether a task of this DAG failed: for good, or to be tried again."""
    tasks = [api.task_states(run) for run in api.runs(since) if run.dag_id == dag_id]
    return any({"up_for_retry", "failed"}.intersection(states.values()) for states in tasks)


@pytest.mark.long
def test_a_broken_silo_and_a_killed_task_stop_nobody_and_heal(city: Settings, api: AirflowApi) -> None:
    folder, aside = city.drop_dir / "tows", city.drop_dir / ".tows"
    folder.rename(aside)
    folder.write_text("not a folder")  # root may read anything, so that permissions would stop nobody
    try:
        with held(city, "silo verbalisations") as blocked:
            dag_ids, since = land_everything(api)
            truth = deliver(city, seed=8, start=date(2026, 2, 2), tows=aside)
            kill(blocked, "the task that ingests verbalisations comes to its lock")

        def others_are_done() -> bool:
            known = states(api, since)
            return all(known.get(dag_id) == {"success"} for dag_id in dag_ids if dag_id != "land_tows")

        eventually(lambda: fails(api, "land_tows", since), "the broken silo fails")
        eventually(others_are_done, "the other silos land")
        assert "success" not in states(api, since)["land_tows"]
        assert ("dag-failed", "land_tows.land") in warnings(city)
    finally:
        folder.unlink()
        aside.rename(folder)
    # Nobody has to start it: the files that wait are seen.
    eventually(lambda: "success" in states(api, since)["land_tows"], "the mended silo lands")
    eventually(lambda: at_rest(city, api, since), "everything is over")
    assert ("dag-failed", "land_tows.land") not in warnings(city)
    logs = city.logs_dir / "airflow" / "dag_id=land_verbalisations"
    assert list(logs.rglob("attempt=2.log")), "the killed task was tried again"
    assert_perfect(city, truth)


@pytest.mark.long
def test_a_killed_scheduler_loses_nothing_and_doubles_nothing(city: Settings, api: AirflowApi) -> None:
    truth = deliver(city, seed=9, start=date(2026, 2, 16))
    _, before = progress(city, "crowd_flows")
    dag_ids, since = land_everything(api)
    eventually(lambda: progress(city, "crowd_flows")[1] > before, "a delivery is settled")
    scheduler = next(service for service in services.status(city) if service.name == "airflow-scheduler")
    assert scheduler.pid
    os.kill(scheduler.pid, signal.SIGKILL)
    runs = following.until_over(api, dag_ids, MARTS, since=since, seconds=PATIENCE)
    assert {run.state for run in runs} == {"success"}
    assert_perfect(city, truth)
    assert_marts_are_current(city)
    assert {service.state for service in services.status(city)} == {"up"}


def test_the_daily_retention_job_leaves_its_receipt(city: Settings, api: AirflowApi) -> None:
    since = datetime.now(UTC) - timedelta(seconds=1)
    api.trigger("retention")
    runs = following.until_over(api, ["retention"], (), since=since, seconds=PATIENCE)
    assert {run.state for run in runs} == {"success"}
    store = object_store.client(city, "steward")
    receipt = object_store.get_json(store, "receipts", f"retention/{datetime.now(UTC).date()}.json")
    assert receipt["runs"][-1]["overdue"] == []
    assert receipt["runs"][-1]["oldest_kept"]["conformed/tows"]


PERSONAL = {
    "verbalisations": ("\t", ("DI_Id", "MIFVAO_VehiculeImmatriculation")),
    "tows": (";", ("numero_dossier", "immatriculation")),
}


def personal_values(settings: Settings) -> set[str]:
    """Plates and record numbers out of the delivered files: what must never be seen past landing."""
    store = object_store.client(settings, "pipeline")
    found: set[str] = set()
    for silo, (delimiter, columns) in PERSONAL.items():
        for key in object_store.list_keys(store, "landing", f"{silo}/"):
            with suppress(UnicodeDecodeError):
                header, *lines = object_store.get_bytes(store, "landing", key).decode().splitlines() or [""]
                for column in set(columns).intersection(names := header.split(delimiter)):
                    cells = (line.split(delimiter)[names.index(column) :] for line in lines)
                    found.update(cell[0] for cell in cells if cell and len(cell[0]) >= 7)
    return found


def test_no_personal_value_leaves_landing(city: Settings) -> None:
    """Last, so that what killed and failed tasks left behind is looked at as well."""
    values = personal_values(city)
    assert len(values) > 500
    values = set(random.Random(1).sample(sorted(values), 500))
    canaries = re.compile(b"|".join(re.escape(value.encode()) for value in sorted(values)))
    leaks: list[str] = []

    def look(name: str, content: bytes) -> None:
        if canaries.search(content):
            leaks.append(name)

    looked = 0
    for folder in ("logs", "work", "run", "demo"):
        for path in (city.home / folder).rglob("*"):
            if path.is_file():
                looked += 1
                look(str(path.relative_to(city.home)), path.read_bytes())
    assert looked > 20
    assert list((city.logs_dir / "airflow").rglob("attempt=1.log"))
    store = object_store.client(city, "admin")
    for bucket in ("quarantine", "receipts", "lake", "docs"):
        for key in object_store.list_keys(store, bucket):
            content = object_store.get_bytes(store, bucket, key)
            look(f"{bucket}/{key}", content)
            if key.endswith(".parquet"):  # compressed pages hide what they hold
                plain = io.BytesIO()
                pl.read_parquet(io.BytesIO(content)).write_ipc(plain, compression="uncompressed")
                look(f"{bucket}/{key}", plain.getvalue())
    with database.connect(city, "admin", "airflow") as airflow:
        for table in ("log", "xcom", "rendered_task_instance_fields", "serialized_dag"):
            for (row,) in airflow.execute(f"select t::text from {table} t").fetchall():
                look(f"airflow.{table}", row.encode())
    with database.connect(city, "admin", "lake") as lake:
        for table in ("delivery", "commit", "release", "mart"):
            for (row,) in lake.execute(f"select t::text from registry.{table} t").fetchall():
                look(f"registry.{table}", row.encode())
    assert leaks == []
    landed = object_store.list_keys(store, "landing", "tows/")
    assert any(canaries.search(object_store.get_bytes(store, "landing", key)) for key in landed), "the control"
