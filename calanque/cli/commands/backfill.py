"""The command ``calanque backfill``: event days done again, from what was delivered to what is published."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from infra.progress import Patience, Progress

if TYPE_CHECKING:
    from infra.machines.airflow.api import AirflowApi
    from infra.settings import Settings

_DAG, _VERIFY = "city_day", "verify_marts"
_AT_ONCE = 2
_POLL_SECONDS = 1.0
_EVERY_SILO = "all"


@dataclass(frozen=True)
class Outcome:
    """What a backfill came to: how each day ended, and how many published periods were ``compared``, all the same."""

    first: date
    last: date
    silo: str
    through: str  # airflow, or this process
    days: dict[str, str]
    compared: int | None
    problems: list[str]
    seconds: float

    @property
    def went_well(self) -> bool:
        return not self.problems


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command(rich_help_panel="The data")(backfill)


def backfill(
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first event day.")],
    last: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The last event day, included.")],
    silo: Annotated[str | None, typer.Option("--silo", help="Only this silo; all of them by default.")] = None,
    minutes: Annotated[
        float, typer.Option(help="Give up waiting when no day ends for this many minutes; Airflow goes on.")
    ] = 240.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Do days again, end to end: land, ingest, ingest again what is missing, build, release, compare.

    Files and deliveries that wait are worked on. Deliveries whose rows are missing on these days are ingested again, as
    long as their bytes are kept in landing. What is due is published; what is published already is built again and
    compared, byte for byte. A day that is complete stays as it is, so this can be repeated at will, and beside the
    daily work. Through Airflow when it runs (a run of the DAG city_day for each day), else at once.

    With [bold]--json[/]: {"first", "last", "silo", "through", "days": {DAY: STATE}, "compared", "problems", "seconds"}.

    Example: [bold]calanque backfill --from 2026-03-01 --to 2026-03-31 --silo tows[/]
    """
    from infra import endpoints
    from infra.machines.airflow import api as airflow_api
    from infra.settings import Settings
    from ingestion.register import silos

    settings = Settings()
    if silo is not None and silo not in silos():
        raise typer.BadParameter(f"there is no silo {silo!r}; there are: {', '.join(silos())}", param_hint="--silo")
    days = first.date(), last.date()
    if days[0] > days[1]:
        raise typer.BadParameter(f"{days[0]} is after --to {days[1]}", param_hint="--from")

    with Progress(quiet=settings.quiet) as progress:
        if endpoints.load(settings).airflow_url is None:
            outcome = _here(settings, *days, silo, progress)
        else:
            with airflow_api.connect(settings) as api:
                outcome = _through_airflow(api, *days, silo, progress, seconds=60 * minutes)
    if as_json:
        typer.echo(json.dumps(asdict(outcome), indent=2, default=str))
    else:
        states = ", ".join(f"{count} {state}" for state, count in sorted(Counter(outcome.days.values()).items()))
        typer.echo(f"{len(outcome.days)} days: {states} ({outcome.seconds:.0f} s, through {outcome.through})")
        if outcome.compared is not None:
            typer.echo(f"{outcome.compared} published periods built again: every one is the same, byte for byte")
        for problem in outcome.problems:
            typer.secho(problem, fg=typer.colors.RED, err=True)
    if not outcome.went_well:
        raise typer.Exit(1)


def _through_airflow(
    api: AirflowApi, first: date, last: date, silo: str | None, progress: Progress, *, seconds: float
) -> Outcome:
    from calanque.cli import following
    from infra.calendar import clock
    from infra.machines.airflow import api as airflow_api

    began = time.monotonic()
    progress.wait("waiting for Airflow to read its DAGs")
    following.until_known(api, [_DAG, _VERIFY], far=progress.far)
    asked = api.create_backfill(_DAG, first, last, conf={"silo": silo or _EVERY_SILO}, at_once=_AT_ONCE)
    progress.wait(f"backfill {asked.number} of {_DAG}: {first} to {last}")
    states: dict[str, str] = {}
    patience = Patience(seconds)
    while True:
        # Asked first: what is over by then is in the states.
        over = following.answered(lambda: api.is_over(asked), seconds, progress.far)
        before, states = states, following.answered(lambda: api.days(asked), seconds, progress.far)
        for day, state in states.items():
            if before.get(day) != state and state in {"success", "failed"}:
                progress.say(f"{day} {state}")
        progress.far(f"{sum(state in {'success', 'failed'} for state in states.values())} days are done")
        if over:
            break
        patience.look(states)
        if patience.over:
            raise airflow_api.AirflowError(
                f"nothing has moved in backfill {asked.number} for {seconds / 60:.0f} minutes: look at it in Airflow"
            )
        time.sleep(_POLL_SECONDS)
    states = {str(day): states.get(str(day), "in other hands") for day in clock.days(first, last)}
    problems = [
        f"{day}: {state}; see the run of {_DAG} in Airflow" for day, state in states.items() if state == "failed"
    ]
    compared = None
    if not problems:
        progress.wait("building what is published again")
        run_id = api.trigger(_VERIFY, conf={"first": str(first), "last": str(last)})
        state = following.until_run_is_over(api, _VERIFY, run_id, seconds=seconds)
        if state == "success":
            compared = int(api.returned(_VERIFY, run_id, "compare"))
        else:
            problems.append(f"published periods could not be shown to be the same: see run {run_id} of {_VERIFY}")
    return Outcome(
        first=first,
        last=last,
        silo=silo or _EVERY_SILO,
        through="airflow",
        days=states,
        compared=compared,
        problems=problems,
        seconds=round(time.monotonic() - began, 1),
    )


def _here(settings: Settings, first: date, last: date, silo: str | None, progress: Progress) -> Outcome:
    """The same work without Airflow: the days of a silo at once, since they share what is read."""
    from infra.calendar import clock
    from ingestion import backfill as days_again
    from ingestion.pipeline import IngestionError
    from ingestion.register import silos
    from privacy.spending import RefusedError
    from publication import report
    from publication.builds import building
    from publication.builds.rebuilding import rebuild
    from publication.releases import release

    began = time.monotonic()
    problems: list[str] = []
    for name in [silo] if silo else silos():
        try:
            progress.wait(f"{name}: days again")
            progress.say(days_again.days(settings, name, first, last).sentence)
        except IngestionError as failure:
            problems.append(str(failure))
    progress.wait("building marts")
    building.build(settings)
    for released in release.release_latest(settings):
        progress.say(f"{released.mart} v{released.version}")
    problems += [f"{mart} is held back: {because}" for mart, because in report.held_back(settings).items()]
    compared = None
    try:
        progress.wait("building what is published again")
        compared = rebuild(settings, first=first, last=last).same
    except RefusedError as refused:
        problems.append(str(refused))
    state = "failed" if problems else "success"
    return Outcome(
        first=first,
        last=last,
        silo=silo or _EVERY_SILO,
        through="this process",
        days={str(day): state for day in clock.days(first, last)},
        compared=compared,
        problems=problems,
        seconds=round(time.monotonic() - began, 1),
    )
