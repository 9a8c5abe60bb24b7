"""The command ``calanque demo``: a seeded city, delivered and run through Airflow, from nothing to released marts."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from calanque.demo.truth import Truth
    from infra.machines.airflow.api import AirflowApi
    from infra.progress import Progress
    from infra.settings import Settings

_MARTS = ("build_marts", "release_marts")
_RETENTION = "retention"


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command(rich_help_panel="The data")(demo)


def demo(
    days: Annotated[int, typer.Option(min=1, help="How many days come as a file each, after the months before.")] = 21,
    years: Annotated[int, typer.Option(min=0, help="How many years come before, as a file of each silo and year.")] = 0,
    *,
    scale: Annotated[
        float, typer.Option(min=0.001, help="1 is the volume of a real city: 400,000 fines a year.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed is another city's worth of data.")] = 7,
    minutes: Annotated[float, typer.Option(help="Give up when nothing moves for this many minutes.")] = 15.0,
) -> None:
    """Start the lake, deliver a seeded demo city with injected faults, let Airflow do the work, show the result.

    The city delivers a whole quarter, and the months since, as a file a month; then three weeks as a file a day, up to
    the day before yesterday. Whole months and quarters are published. Run it again: the same bytes are delivered again,
    and nothing changes. With [bold]--years 2[/] it may take twenty minutes.
    """
    from infra.progress import Progress
    from infra.settings import Settings

    settings = Settings()
    began = time.monotonic()
    with Progress(quiet=settings.quiet) as progress:
        progress.wait("looking at what is there")
        from calanque.cli import following
        from calanque.cli.commands.pipeline import collect, show
        from calanque.cli.commands.services import up
        from calanque.demo import outcome
        from calanque.demo.score import score
        from infra import endpoints
        from infra.calendar import trusted_clock
        from infra.machines.airflow import api as airflow_api

        before = {name: mart["release"] for name, mart in _marts(settings).items()}
    if not settings.is_started_by_others:
        up(without_airflow=False)
    trusted_clock.now(settings, "pipeline")  # else every build would fail, one after the other
    with Progress(quiet=settings.quiet) as progress:
        truth = _deliver(settings, days=days, years=years, scale=scale, seed=seed, progress=progress)
        delivered, patience = time.monotonic(), 60 * minutes
        since = datetime.now(UTC) - timedelta(seconds=1)
        landing = sorted({f"land_{delivery.silo}" for delivery in truth.deliveries})
        progress.wait("waiting for Airflow to read its DAGs")
        with following.answered(lambda: airflow_api.connect(settings), patience, progress.far) as api:
            following.until_known(api, [*landing, *_MARTS, _RETENTION], patience, progress.far)
            with _kept(api) if years else nullcontext():
                for dag_id in landing:
                    begin = partial(api.trigger, dag_id, run_id=f"demo__{since.isoformat()}")
                    following.answered(begin, patience, progress.far)
                progress.wait("Airflow lands, ingests, builds and releases")
                runs = following.until_over(
                    api,
                    landing,
                    _MARTS,
                    since=since,
                    seconds=patience,
                    tell=lambda step: progress.say(f"{step.dag_id:<22} {step.task:<8} {step.state}"),
                    far=progress.far,
                )
        seconds, run_seconds = time.monotonic() - began, time.monotonic() - delivered
        progress.wait("comparing every delivery and mart with what the demo city is known to hold")
        silos, marts = collect(settings)
        found = score(truth, outcome.read(settings))

    show(silos, marts)
    for line in found.table().splitlines()[-4 - len(found.complaints) :]:
        typer.echo(line)
    new = sorted(name for name, mart in marts.items() if mart["release"] != before.get(name))
    typer.echo(f"new releases: {len(new)}" + (f" ({', '.join(new)})" if new else ": every mart is as it was"))
    typer.echo(f"{seconds:.0f} s in all, {run_seconds:.0f} s of them for {len(runs)} DAG runs")
    _figures(settings)
    if not settings.is_started_by_others:
        _how_to_look(settings, endpoints.load(settings).airflow_url)
    failed = [run for run in runs if run.state == "failed"]
    for run in failed:
        typer.secho(f"{run.dag_id} failed: its log is in Airflow and in {settings.logs_dir}", fg="red", err=True)
    if failed or not found.is_perfect:
        raise typer.Exit(1)


def _deliver(settings: Settings, *, days: int, years: int, scale: float, seed: int, progress: Progress) -> Truth:
    """Write what the demo city delivers; what it delivered before, when it did, so that the bytes are the same."""
    from calanque.demo import seasons
    from calanque.demo.generate import generate
    from calanque.demo.truth import Truth
    from infra.calendar import clock
    from infra.city.profile import load_city
    from ingestion.delivery import declaring

    written = settings.home / "demo" / "truth.json"
    last = (
        Truth.read(written).last_day
        if written.exists()
        else seasons.last_day(declaring.local_day(settings, clock.now(settings)))
    )
    start = last - timedelta(days=days - 1)
    history = seasons.history(start, years)
    progress.wait(
        f"writing {history[0].first_day} to {last} of the demo city ({settings.city}) into {settings.drop_dir}"
    )
    truth = generate(
        load_city(settings),
        seed=seed,
        start=start,
        days=days,
        history=history,
        scale=scale,
        drop_dir=settings.drop_dir,
        faults=True,
        report=progress.far,
    )
    truth.save(written)
    return truth


@contextmanager
def _kept(api: AirflowApi) -> Iterator[None]:
    """Retention waits: years of the city are past their limit when they come, and are published before they go."""
    api.pause(_RETENTION, paused=True)
    try:
        yield
    finally:
        api.pause(_RETENTION, paused=False)


def _marts(settings: Settings) -> dict[str, dict[str, object]]:
    """The marts as they were before; empty when no lake is running yet."""
    from calanque.cli.commands.pipeline import collect
    from infra.endpoints import NotRunning

    try:
        return collect(settings)[1]
    except (NotRunning, OSError):
        return {}


def _figures(settings: Settings) -> None:
    """A few published figures as an analyst reads them, and one that is too small to be shown."""
    from infra import database

    with database.connect(settings, "analyst", "bi", autocommit=True) as connection:
        rows = connection.execute(
            """
            select period_start, area_name, coalesce(fines::text, fines_label), fines is null as hidden
            from marts.fines_by_day
            where period_start = (select max(period_start) from marts.fines_by_day)
            order by area_name
            """
        ).fetchall()
    shown, hidden = [row for row in rows if not row[3]][:3], [row for row in rows if row[3]][:1]
    if not rows:
        return
    typer.echo(f"\nmarts.fines_by_day, {rows[0][0]}, as an analyst reads it:")
    for _, area, figure, too_small in (*shown, *hidden):
        why = "   hidden: noise is too large a part of a figure so small" if too_small else ""
        typer.echo(f"  {area:<32}{figure:>5}{why}")


def _how_to_look(settings: Settings, airflow_url: str | None) -> None:
    from infra import secrets
    from infra.machines.airflow import servers as airflow

    typer.echo(
        f"\nAirflow:  {airflow_url}  (user {airflow.USER}, password in {secrets.path(settings, airflow.PASSWORD)})\n"
        'BI:       eval "$(.venv/bin/calanque env)"; psql "$CALANQUE_BI_URI" -c \'table marts.release_info\'\n'
        "Stop:     make down"
    )
