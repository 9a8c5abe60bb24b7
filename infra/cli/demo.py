"""The command ``calanque demo``: a seeded city, delivered and run through Airflow, from nothing to released marts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from infra.cli.airflow_api import AirflowApi, DagRun
    from infra.settings import Settings
    from ingestion.demo.truth import Truth

# Three weeks with the spring change of clocks and the end of a quarter in them.
_START = date(2026, 3, 16)
_POLL_SECONDS = 1.0
_QUIET_POLLS = 3  # an asset event takes the scheduler a moment to become a run
_LANDING = "land_"
_MARTS = ("build_marts", "release_marts")


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command(rich_help_panel="The data")(demo)


def demo(
    days: Annotated[int, typer.Option(min=1, help="How many days of deliveries.")] = 21,
    scale: Annotated[float, typer.Option(help="1 is the volume of a real city: 400,000 fines a year.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed is another city's worth of data.")] = 7,
    minutes: Annotated[float, typer.Option(help="Give up after this many minutes.")] = 15.0,
) -> None:
    """Start the lake, deliver a seeded demo city with injected faults, let Airflow do the work, show the result.

    Run it again: the same bytes are delivered again, and nothing changes.
    """
    from infra import endpoints
    from infra.city import load_city
    from infra.cli.pipeline import collect, show
    from infra.cli.services import up
    from infra.settings import Settings
    from ingestion.demo import outcome
    from ingestion.demo.generate import generate
    from ingestion.demo.score import score

    settings = Settings()
    began = time.monotonic()
    before = {name: mart["release"] for name, mart in _marts(settings).items()}
    up(without_airflow=False)
    tell = _Teller(settings.quiet)
    tell(f"writing {days} days of deliveries of the demo city ({settings.city}) into {settings.drop_dir}")
    truth = generate(
        load_city(settings), seed=seed, start=_START, days=days, scale=scale, drop_dir=settings.drop_dir, faults=True
    )
    truth.save(settings.home / "demo" / "truth.json")
    written = time.monotonic()
    api = _airflow(settings)
    since = datetime.now(UTC) - timedelta(seconds=1)
    landing = _landing_dags(api, truth)
    for dag_id in landing:
        api.trigger(dag_id)
    runs = _watch(api, landing, since, time.monotonic() + 60 * minutes, tell)
    seconds, run_seconds = time.monotonic() - began, time.monotonic() - written

    silos, marts = collect(settings)
    show(silos, marts)
    found = score(truth, outcome.read(settings))
    for line in found.table().splitlines()[-4 - len(found.complaints) :]:
        typer.echo(line)
    new = sorted(name for name, mart in marts.items() if mart["release"] != before.get(name))
    typer.echo(f"new releases: {len(new)}" + (f" ({', '.join(new)})" if new else ": every mart is as it was"))
    typer.echo(f"{seconds:.0f} s in all, {run_seconds:.0f} s of them for {len(runs)} DAG runs")
    _how_to_look(settings, endpoints.load(settings).airflow_url)
    failed = [run for run in runs if run.state == "failed"]
    for run in failed:
        typer.secho(f"{run.dag_id} failed: its log is in Airflow and in {settings.logs_dir}", fg="red", err=True)
    if failed or not found.is_perfect:
        raise typer.Exit(1)


def _marts(settings: Settings) -> dict[str, dict[str, object]]:
    """The marts as they were before; empty when no lake is running yet."""
    from infra.cli.pipeline import collect
    from infra.endpoints import NotRunning

    try:
        return collect(settings)[1]
    except (NotRunning, OSError):
        return {}


def _airflow(settings: Settings) -> AirflowApi:
    from infra import endpoints, secrets
    from infra.cli.airflow_api import AirflowApi
    from infra.services import airflow

    url = endpoints.load(settings).airflow_url
    if url is None:
        raise endpoints.NotRunning(f"the lake in {settings.home} runs without Airflow: `calanque up` starts it")
    return AirflowApi(url, airflow.USER, secrets.read(settings, airflow.PASSWORD))


def _landing_dags(api: AirflowApi, truth: Truth) -> list[str]:
    """The landing DAGs of the silos that deliver, once the DAG processor has parsed everything."""
    from infra.cli.airflow_api import AirflowError

    wanted = sorted({f"{_LANDING}{delivery.silo}" for delivery in truth.deliveries})
    deadline = time.monotonic() + 120
    while missing := {*wanted, *_MARTS} - api.dag_ids():
        if errors := api.import_errors():
            raise AirflowError("a DAG file does not import:\n" + "\n".join(errors))
        if time.monotonic() > deadline:
            raise AirflowError(f"the DAG processor does not show {', '.join(sorted(missing))}: see its log")
        time.sleep(_POLL_SECONDS)
    return wanted


@dataclass(frozen=True)
class _Step:
    """One task of one run, as the person watching sees it."""

    dag_id: str
    task: str
    state: str


def _watch(
    api: AirflowApi, landing: Sequence[str], since: datetime, deadline: float, tell: Callable[[str], None]
) -> list[DagRun]:
    """Follow every run until nothing runs any more and nothing new begins; the runs, finished."""
    from infra.cli.airflow_api import AirflowError

    told: set[_Step] = set()
    quiet = 0
    while True:
        runs = api.runs(since)
        for step in _steps(api, runs):
            if step not in told and step.state not in {"none", "scheduled", "queued"}:
                told.add(step)
                tell(f"{step.dag_id:<22} {step.task:<8} {step.state}")
        landed = {run.dag_id for run in runs if run.finished} >= set(landing)
        quiet = quiet + 1 if landed and all(run.finished for run in runs) else 0
        if quiet > _QUIET_POLLS:
            return runs
        if time.monotonic() > deadline:
            unfinished = ", ".join(f"{run.dag_id} ({run.state})" for run in runs if not run.finished)
            raise AirflowError(f"Airflow is not done in time: {unfinished}; look at its UI or at `calanque status`")
        time.sleep(_POLL_SECONDS)


def _steps(api: AirflowApi, runs: Sequence[DagRun]) -> Iterator[_Step]:
    for run in runs:
        for task, state in api.task_states(run).items():
            yield _Step(run.dag_id, task, state)


def _how_to_look(settings: Settings, airflow_url: str | None) -> None:
    from infra import secrets
    from infra.services import airflow

    typer.echo(
        f"\nAirflow:  {airflow_url}  (user {airflow.USER}, password in {secrets.path(settings, airflow.PASSWORD)})\n"
        'BI:       eval "$(.venv/bin/calanque env)"; psql "$CALANQUE_BI_URI" -c \'table marts.release_info\'\n'
        "Stop:     make down"
    )


class _Teller:
    """Prints each step with the time since the start; nothing in quiet mode."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._began = time.monotonic()

    def __call__(self, sentence: str) -> None:
        if not self._quiet:
            typer.echo(f"{time.monotonic() - self._began:6.1f} s  {sentence}", err=True)
