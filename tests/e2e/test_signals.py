"""A day of two silos, from files to releases, and everything that tells of it: lineage, logs, metrics."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from lakes import declare, running
from openlineage_checks import check
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

import infra
from calanque.cli import app
from calanque.demo.generate import generate
from infra import database, endpoints, logs, object_store, registry, secrets
from infra.calendar import clock
from infra.city.profile import load_city
from infra.endpoints import Endpoints
from infra.lineage.graph import ROWS
from infra.machines.services import metrics as service
from infra.openlineage import outbox
from infra.openlineage.runs import PARENT, ROOT
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import landing
from ingestion.register import silos
from publication.builds import building
from publication.releases import release
from stewardship.metrics import exporter, figures
from stewardship.retention import job

pytestmark = [pytest.mark.live, pytest.mark.slow]

DAY = date(2026, 3, 31)  # the last of a month and of a quarter: marts of every period are due
SILOS = ("crowd_flows", "tows")
TASK = "calanque/land_tows.ingest/01a2021b-6d4d-77c6-ac95-229f422b78d3"
DAG = "calanque/land_tows/6b43f78a-4737-5fef-9dc4-c1ab6f0a5810"
GRAFANA = Path(infra.__file__).parent / "grafana"


@pytest.fixture(scope="module")
def lived() -> Iterator[Settings]:
    """A lake in which a day was delivered, ingested, built and released, as Airflow's tasks would."""
    with running(airflow=False, prefix="calanque-signals-") as settings, pytest.MonkeyPatch.context() as environment:
        declare(settings, clock.quarter_start(DAY), DAY, *SILOS, "telecom_footfall")  # the last delivers nothing
        generate(load_city(settings), seed=7, start=DAY, days=1, scale=0.05, drop_dir=settings.drop_dir, faults=True)
        broken = settings.drop_dir / "tows" / "2026-03-31_9_fourriere.csv"
        broken.write_text("not;what;was;agreed\n1;2;3;4\n")
        environment.setenv(PARENT, TASK)
        environment.setenv(ROOT, DAG)
        for silo in SILOS:
            landing.sweep(settings, silo)
            pipeline.ingest(settings, silo)
        built = building.build(settings)
        assert built is not None
        release.release(settings, built.build_id)
        job.run(settings, run_id="test")
        yield settings


def events(lake: Settings, job: str, kind: str = "COMPLETE") -> list[dict[str, Any]]:
    return [each for each in outbox.read(lake) if each["job"]["name"] == job and each["eventType"] == kind]


def fields(dataset: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    lineage = dataset["facets"]["columnLineage"]["fields"]
    return {name: field["inputFields"] for name, field in lineage.items()}


def classes(dataset: dict[str, Any]) -> dict[str, str]:
    tags = dataset["facets"]["tags"]["tags"]
    return {tag["field"]: tag["value"] for tag in tags if tag["key"] == "classification"}


# --- lineage ---------------------------------------------------------------------------------------------------------


def test_every_event_is_one_of_openlineage(lived: Settings) -> None:
    kept = list(outbox.read(lived))
    assert len(kept) > 50
    for event in kept:
        check(event)


def test_every_run_that_started_has_ended_once(lived: Settings) -> None:
    started: dict[str, int] = {}
    ended: dict[str, int] = {}
    for event in outbox.read(lived):
        which = started if event["eventType"] == "START" else ended
        which[event["run"]["runId"]] = which.get(event["run"]["runId"], 0) + 1
    assert started == ended
    assert set(started.values()) == {1}


def test_each_delivery_is_a_run_with_the_figures_of_the_registry(lived: Settings) -> None:
    with database.connect(lived, "steward", "lake") as connection:
        rows = connection.execute(
            """
            select silo, delivery_id, object_key, status, rows_in, accepted, quarantined, by_rule
            from registry.delivery
            """
        ).fetchall()
    assert {status for _, _, _, status, *_ in rows} == {"committed", "refused"}
    for silo, delivery_id, key, status, rows_in, accepted, quarantined, by_rule in rows:
        kind = "COMPLETE" if status == "committed" else "FAIL"
        (event,) = [
            each
            for each in events(lived, f"ingest.{silo}", kind)
            if each["run"]["facets"]["calanque_delivery"]["deliveryId"] == delivery_id
        ]
        told = event["run"]["facets"]["calanque_delivery"]
        figures_told = (told["rowsIn"], told["accepted"], told["quarantined"], told["byRule"])
        assert figures_told == (rows_in, accepted, quarantined, by_rule)
        (delivered,) = event["inputs"]
        assert (delivered["namespace"], delivered["name"]) == ("s3://landing", key)
        if status == "committed":
            assert delivered["inputFacets"]["dataQualityMetrics"]["rowCount"] == rows_in
            results = delivered["inputFacets"]["dataQualityAssertions"]["assertions"]
            failed = {each["assertion"]: int(each["actual"]) for each in results if each["severity"] == "error"}
            assert failed == by_rule
            written = {(each["namespace"], each["name"]) for each in event["outputs"]}
            assert ("s3://lake", f"conformed/{silo}") in written
            assert (("s3://quarantine", f"{silo}/{delivery_id}.parquet") in written) == (quarantined > 0)
        else:
            assert event["run"]["facets"]["errorMessage"]["message"].startswith("refused: ")


def test_a_delivery_says_which_task_and_which_dag_run_it_belongs_to(lived: Settings) -> None:
    for event in events(lived, "ingest.tows"):
        parent = event["run"]["facets"]["parent"]
        assert f"{parent['job']['namespace']}/{parent['job']['name']}/{parent['run']['runId']}" == TASK
        assert parent["root"]["run"]["runId"] == DAG.rpartition("/")[2]


def test_a_plate_is_followed_to_its_pseudonym_and_no_further_unmasked(lived: Settings) -> None:
    event = events(lived, "ingest.tows")[0]
    (delivered,) = event["inputs"]
    conformed = next(each for each in event["outputs"] if each["name"] == "conformed/tows")
    assert classes(delivered)["plate"] == "identifier"
    assert classes(conformed)["vehicle"] == "pseudonym"
    (plate,) = [source for source in fields(conformed)["vehicle"] if source["field"] == "plate"]
    assert (plate["namespace"], plate["name"]) == (delivered["namespace"], delivered["name"])
    assert plate["transformations"][0]["masking"] is True
    (mart,) = events(lived, "build.tows_by_month")[0]["outputs"]
    assert set(classes(mart).values()) == {"public"}
    from_vehicle = [source for source in fields(mart)["tows"] if source["field"] == "vehicle"]
    assert from_vehicle
    assert all(source["transformations"][0]["masking"] for source in from_vehicle)
    assert ROWS not in {source["field"] for sources in fields(mart).values() for source in sources}


def test_the_snapshot_that_was_written_is_the_snapshot_that_was_read(lived: Settings) -> None:
    newest = events(lived, "ingest.tows")[-1]
    (written,) = [each for each in newest["outputs"] if each["name"] == "conformed/tows"]
    (read,) = events(lived, "build.tows_by_month")[0]["inputs"]
    assert read["facets"]["version"]["datasetVersion"] == written["facets"]["version"]["datasetVersion"]
    assert read["name"] == written["name"]


def test_builds_tests_and_releases_hang_together_without_a_scratch_database(lived: Settings) -> None:
    mart = "crowd_by_day"
    (built,), (tested,), (released,) = (events(lived, f"{what}.{mart}") for what in ("build", "test", "release"))
    (candidate,) = built["outputs"]
    name = (candidate["namespace"], candidate["name"])
    assert [(each["namespace"], each["name"]) for each in tested["inputs"]] == [name]
    assert [(each["namespace"], each["name"]) for each in released["inputs"]] == [name]
    results = tested["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert results
    assert all(each["success"] for each in results)
    at = endpoints.load(lived)
    assert {(each["namespace"], each["name"]) for each in released["outputs"]} == {
        ("s3://lake", f"marts/{mart}"),
        ("s3://lake", f"releases/{mart}"),
        (f"postgres://{at.postgres_host}:{at.postgres_port}", f"bi.marts.{mart}"),
    }
    rows = {each["outputFacets"]["outputStatistics"]["rowCount"] for each in released["outputs"]}
    assert rows == {built["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"]}
    everything = json.dumps(list(outbox.read(lived)))
    assert ".duckdb" not in everything
    assert str(lived.home) not in everything


# --- logs ------------------------------------------------------------------------------------------------------------


def calanque(lake: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"CALANQUE_HOME": str(lake.home), "COLUMNS": "200"})


def test_a_delivery_is_followed_from_landing_to_release(lived: Settings) -> None:
    with database.connect(lived, "steward", "lake") as connection:
        committed = connection.execute(
            "select delivery_id from registry.delivery where silo = 'crowd_flows' and status = 'committed'"
        ).fetchall()
        (identity,) = next(row for row in committed if registry.commits_of(connection, row[0])[0].days[0] == DAY)
    done = calanque(lived, "logs", "--delivery", identity[:12], "--json")
    assert done.exit_code == 0, done.output
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert list(dict.fromkeys(line["stage"] for line in told)) == ["land", "ingest", "build", "release"]
    assert {line["delivery_id"] for line in told if line["stage"] in {"land", "ingest"}} == {identity}
    assert {line["silo"] for line in told} == {"crowd_flows"}
    steps = [line["step"] for line in told if line["stage"] == "ingest"]
    assert steps == ["fetch", "open", "conform", "quarantine", "commit", "settle"]
    assert "crowd_by_day" in {line.get("mart") for line in told if line["stage"] == "release"}
    assert calanque(lived, "logs", "--delivery", "0" * 64).exit_code == 1


def test_no_line_of_log_or_lineage_holds_a_plate(lived: Settings) -> None:
    plates = set(re.findall(r"\b[A-Z]{2}-?[0-9]{3}-?[A-Z]{2}\b", _delivered_tows(lived)))
    assert plates
    text = json.dumps([*logs.read(lived), *outbox.read(lived)])
    assert not [plate for plate in plates if plate in text]


def _delivered_tows(lake: Settings) -> str:
    store = object_store.client(lake, "pipeline")
    keys = [event["inputs"][0]["name"] for event in events(lake, "ingest.tows")]
    return "\n".join(object_store.get_bytes(store, "landing", key).decode("utf-8", "replace") for key in keys)


def test_the_command_tells_where_a_figure_comes_from(lived: Settings) -> None:
    done = calanque(lived, "lineage", "tows_by_month.tows", "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    (column,) = answer["columns"]
    assert (answer["table"], column["classification"]) == ("marts.tows_by_month", "public")
    by_column = {each["column"]: each for each in column["from"]}
    assert by_column["plate"]["classification"] == "identifier"
    assert all(each["masked"] for each in column["from"])
    assert answer["path"]
    assert calanque(lived, "lineage", "tows_by_month.nothing").exit_code == 2


# --- metrics ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def port(lived: Settings) -> Iterator[int]:
    """The exporter of that lake, listening."""
    secrets.read_or_generate(lived, exporter.TOKEN)
    with exporter.server(lived, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def ask(port: int, path: str, token: str | None, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token is not None else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_nobody_reads_metrics_without_the_token(lived: Settings, port: int) -> None:
    token = secrets.read(lived, exporter.TOKEN)
    for wrong in (None, "", "wrong", token[:-1]):
        for path in ("/metrics", "/health", "/"):
            assert ask(port, path, wrong) == (401, "")
    assert ask(port, "/health", token)[0] == 204
    assert ask(port, "/elsewhere", token)[0] == 404
    assert ask(port, "/metrics", token, "POST")[0] == 501


def test_the_figures_are_those_of_the_lake(lived: Settings, port: int) -> None:
    status, text = ask(port, "/metrics", secrets.read(lived, exporter.TOKEN))
    assert status == 200
    found = samples(text)
    with database.connect(lived, "steward", "lake") as connection:
        reports = {report.silo: report for report in registry.report(connection)}
        releases = registry.newest_releases(connection, "released")
    for silo in silos():
        of_silo = (("silo", silo),)
        rows = reports[silo].rows_in if silo in reports else 0
        assert found["calanque_rows_in_total", of_silo] == rows
        committed = reports[silo].committed if silo in reports else 0
        assert found["calanque_deliveries", (("silo", silo), ("status", "committed"))] == committed
    for mart, row in releases.items():
        assert found["calanque_release_rows", (("mart", mart),)] == row.rows
        assert time.time() - found["calanque_release_timestamp_seconds", (("mart", mart),)] < 3600
    assert found["calanque_release_version", (("mart", "fines_by_day"),)] == 0
    up = {labels[0][1]: value for (name, labels), value in found.items() if name == "calanque_up"}
    assert up == {"postgres": 1, "catalog": 1, "store": 1, "disk": 1, "drop": 1}
    assert found["calanque_retention_overdue", ()] == 0


def test_labels_are_few_and_names_of_our_own(lived: Settings, port: int) -> None:
    _, text = ask(port, "/metrics", secrets.read(lived, exporter.TOKEN))
    names = {name for _, labels in samples(text) for name, _ in labels}
    assert names <= {"component", "silo", "status", "rule", "severity", "mart", "kind"}
    assert len(samples(text)) < 500
    with database.connect(lived, "steward", "lake") as connection:
        files = connection.execute("select file_name, delivery_id from registry.delivery").fetchall()
    assert not [value for row in files for value in row if value in text]


def test_what_is_away_is_said_to_be_away_and_leaves_no_old_figures(lived: Settings, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = unused.getsockname()[1]
    away = Settings(home=tmp_path, secrets=lived.secrets_dir)
    endpoints.save(away, Endpoints(s3_url=f"http://127.0.0.1:{dead}", postgres_host="127.0.0.1", postgres_port=dead))
    found = {metric.name: metric for metric in figures.collect(away)}
    up = {sample.labels["component"]: sample.value for sample in found["calanque_up"].samples}
    assert up == {"postgres": 0, "store": 0, "disk": 1, "drop": 1}
    assert "calanque_deliveries" not in found


def test_a_lake_that_is_down_is_told_of_too(lived: Settings, tmp_path: Path) -> None:
    found = {metric.name: metric for metric in figures.collect(Settings(home=tmp_path, secrets=lived.secrets_dir))}
    up = {sample.labels["component"]: sample.value for sample in found["calanque_up"].samples}
    assert up == {"postgres": 0, "store": 0, "disk": 1, "drop": 1}


def test_the_page_is_made_once_for_all_who_ask_at_once() -> None:
    made: list[int] = []
    page = exporter.Page(lambda: made.append(1) or [], kept=60)  # type: ignore[func-returns-value]
    threads = [threading.Thread(target=page.read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1


# --- Grafana and Prometheus ------------------------------------------------------------------------------------------


def targets() -> list[tuple[str, str]]:
    """Title and query of every panel but those of Airflow, which sends its metrics itself."""
    dashboard = json.loads((GRAFANA / "dashboards" / "calanque.json").read_text())
    found, airflow = [], False
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            airflow = panel["title"].startswith("Airflow")
        elif not airflow:
            found += [(panel["title"], target["expr"]) for target in panel["targets"]]
    return found


def program(name: str) -> str:
    path = os.environ.get(f"CALANQUE_{name.upper()}") or shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name} on PATH")
    return path


def test_the_dashboard_is_sound() -> None:
    dashboard = json.loads((GRAFANA / "dashboards" / "calanque.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) > 20
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    known = dashboard["templating"]["list"][0]["current"]["value"]
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/calanque.yaml").read_text())["datasources"]
    assert source["uid"] == known
    rules = yaml.safe_load((GRAFANA / "prometheus/calanque.rules.yml").read_text())
    assert all(rule["annotations"]["runbook"] for group in rules["groups"] for rule in group["rules"])


def test_every_panel_is_answered_by_prometheus(lived: Settings, port: int, tmp_path: Path) -> None:
    prometheus = program("prometheus")
    service.service(lived, {"metrics": port}).configure()  # type: ignore[misc]
    configuration = yaml.safe_load(service.prometheus_file(lived).read_text())
    configuration["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [
            prometheus,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={address}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        unanswered = [target for target in targets() if target[1] != "calanque_alerts"]  # none stands in this lake
        deadline = time.monotonic() + 120
        while unanswered and time.monotonic() < deadline:
            time.sleep(1)  # increase() needs two scrapes
            unanswered = [(title, query) for title, query in unanswered if not _answer(address, query)]
        assert unanswered == []
        with urllib.request.urlopen(f"http://{address}/api/v1/rules", timeout=10) as answer:
            groups = json.load(answer)["data"]["groups"]
        assert groups
        health = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
        assert set(health.values()) <= {"ok", "unknown"}, health
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answer(address: str, query: str) -> list[Any]:
    url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return list(json.load(answer)["data"]["result"])
    except OSError:
        return []  # not up yet
