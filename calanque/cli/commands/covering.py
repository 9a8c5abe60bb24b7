"""Commands about the days of a silo: which it is complete for, and what publication need not wait for."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calanque.cli.listing import SILOS

if TYPE_CHECKING:
    from infra.settings import Settings

_SILO = typer.Argument(help=f"The silo: {SILOS}.")
_REASON = typer.Option("--reason", help="Why, in a sentence: it is kept for years.")
_LOGIN = typer.Option("--as", metavar="LOGIN", help="The Airflow login of who asks; admin by default.")
_DAY = ["%Y-%m-%d"]


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (cover, publish):
        app.command(rich_help_panel="What stewards decide")(command)


def cover(
    silo: Annotated[str, _SILO],
    first: Annotated[datetime | None, typer.Argument(metavar="FROM", formats=_DAY, help="The first day.")] = None,
    last: Annotated[datetime | None, typer.Argument(metavar="TO", formats=_DAY, help="The last day.")] = None,
    *,
    but: Annotated[
        list[str] | None, typer.Option("--except", metavar="DAY", help="A day, or first/last days, not meant.")
    ] = None,
    take_back: Annotated[
        bool, typer.Option("--take-back", help="It was a mistake: the silo is not complete for these days.")
    ] = False,
    reason: Annotated[str | None, _REASON] = None,
    login: Annotated[str | None, _LOGIN] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Declare the days that a silo is complete for, or show those that were declared.

    Only whole declared periods are published; rows on other days wait unread. A day without rows that is declared
    counts as zero. A day of which nothing was published yet can be taken back.

    In a lake that runs with Airflow this asks a steward, who approves or refuses under Required Actions (DAG
    declare_cover). Without Airflow it is done at once, and recorded as said by whoever ran the command.

    With [bold]--json[/], showing: {"silo", "covered": [[first, last], ...], "gaps": [...], "undeclared": {day: rows}}.

    Example: [bold]calanque cover tows 2026-01-01 2026-01-31 --except 2026-01-14 --reason "the pound sent all"[/]
    """
    from calanque.cli import steward_requests
    from infra.settings import Settings
    from stewardship import covering

    settings = Settings()
    _known(silo)
    if first is None:
        _show(settings, silo, as_json=as_json)
        return
    if not reason:
        raise typer.BadParameter("say why: it is kept for years", param_hint="--reason")
    conf = {
        "silo": silo,
        "first": str(first.date()),
        "last": str((last or first).date()),
        "but": ",".join(but or ()),
        "take_back": take_back,
        "reason": reason,
    }
    asked = covering.asked(settings, conf)
    body = covering.propose_cover(settings, asked, reason)  # nobody is asked for what cannot be done
    if steward_requests.has_airflow(settings):
        typer.echo(f"a steward has to approve it: {steward_requests.ask(settings, 'declare_cover', conf, login)}")
        return
    covering.carry_out_cover(settings, steward_requests.decided_here(settings, "cover", asked.subject, reason), asked)
    typer.echo(body.replace("**", ""))
    typer.echo("`calanque run` publishes what is due")


def publish(
    silo: Annotated[str, _SILO],
    first: Annotated[
        datetime | None, typer.Argument(metavar="FIRST_DAY", formats=_DAY, help="The first day of the period.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Argument(metavar="LAST_DAY", formats=_DAY, help="Its last; a day's is its first.")
    ] = None,
    *,
    reason: Annotated[str, _REASON],
    without: Annotated[
        str | None, typer.Option("--without", metavar="DELIVERY", help="A delivery that no period is to wait for.")
    ] = None,
    login: Annotated[str | None, _LOGIN] = None,
) -> None:
    """Have a period published although days of it are missing, or although a delivery was not read.

    [bold]calanque report[/] shows what waits for what. The figures say how many of its days the period covers; what
    comes later is published by a correction only. In a lake that runs with Airflow this asks a steward (DAG
    publish_as_it_is).

    Example: [bold]calanque publish tows 2026-02-01 2026-02-28 --reason "two days were lost with the old register"[/]
    Example: [bold]calanque publish tows --without 5ac8df539349 --reason "nobody can read that disk any more"[/]
    """
    from calanque.cli import steward_requests
    from infra.settings import Settings
    from stewardship import covering

    settings = Settings()
    _known(silo)
    conf = {
        "silo": silo,
        "first": str(first.date()) if first else None,
        "last": str(last.date()) if last else None,
        "without": without,
        "reason": reason,
    }
    asked = covering.GoAhead.of(conf)
    body = covering.propose_go_ahead(settings, asked, reason)
    if steward_requests.has_airflow(settings):
        typer.echo(f"a steward has to approve it: {steward_requests.ask(settings, 'publish_as_it_is', conf, login)}")
        return
    covering.carry_out_go_ahead(
        settings, steward_requests.decided_here(settings, "publication", asked.subject, reason), asked
    )
    typer.echo(body.replace("**", ""))
    typer.echo("`calanque run` publishes it")


def _known(silo: str) -> None:
    from ingestion.register import silos

    if silo not in silos():
        raise typer.BadParameter(f"there is no silo {silo!r}; there are: {', '.join(silos())}", param_hint="SILO")


def _show(settings: Settings, silo: str, *, as_json: bool) -> None:
    """What was declared, what lies between, and the days with rows that nobody declared."""
    from infra import database, registry
    from infra.calendar import clock
    from infra.calendar.days import ranges
    from ingestion.conformed import undeclared

    with database.connect(settings, "pipeline", "lake") as connection:
        covered = registry.covered_days(connection, [silo])[silo]
        said = registry.covers(connection, silo)
        rows = undeclared.rows(settings, connection, [silo], "pipeline")[silo]
    gaps = set(clock.days(min(covered), max(covered))) - covered if covered else set[date]()
    if as_json:
        answer: dict[str, Any] = {
            "silo": silo,
            "covered": [[str(each.first_day), str(each.last_day)] for each in ranges(covered)],
            "gaps": [[str(each.first_day), str(each.last_day)] for each in ranges(gaps)],
            "undeclared": {str(day): count for day, count in rows.items()},
        }
        typer.echo(json.dumps(answer, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("days", "", "rows", "said by", title=f"{silo}: days it is complete for")
    who = {day: line.said_by for line in said for day in line.days}
    found = [(each, "declared", "", who[each.last_day]) for each in ranges(covered)]
    found += [(each, "nobody declared them", "", "") for each in ranges(gaps - rows.keys())]
    undeclared_rows = ((each, f"{sum(rows[day] for day in each.days):,}") for each in ranges(rows))
    found += [(each, "rows, and nobody declared them", count, "") for each, count in undeclared_rows]
    for each, state, count, by in sorted(found, key=lambda line: line[0].first_day):
        table.add_row(str(each), state, count, by)
    console = Console(highlight=False)
    console.print(table if found else f"{silo}: nobody declared any day")
    if rows:
        console.print(undeclared.sentence(silo, rows), markup=False)
