"""Commands about what was published: ledger, correct, withdraw."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from publication.releases.verifying import Verification

_MART = typer.Argument(help="The mart; `calanque report` lists them.")
_FIRST_DAY = typer.Argument(
    metavar="FIRST_DAY", formats=["%Y-%m-%d"], help="The first day of the published period, as in the ledger."
)
_REASON = typer.Option("--reason", help="Why, in a sentence: it stays in the ledger.")
_WANTED = typer.Option("--reason", help="Why, in a sentence: it stays in the ledger. Without it nothing is done.")
_LOGIN = typer.Option("--as", metavar="LOGIN", help="The Airflow login of who asks; admin by default.")


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (ledger, correct, withdraw):
        app.command(rich_help_panel="What was published")(command)


def ledger(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False) -> None:
    """Tell what publication has spent and has left, and verify everything that was ever published.

    Checks the chain of the ledger, the signed copy of each line, the bytes of every published file, and that manifests
    and ledger agree. Prints what is broken, and exits with 1 when anything is.

    With [bold]--json[/]: {"lines", "verified", "breaks": [...], "budgets": [{"budget", "unit", "currency", "month",
    "limit", "spent", "left", "corrections"}], "years": [...], "published": [...], "corrections": [...], "withdrawals":
    [...], "late_rows": [...]}; amounts are exact decimals, as text.
    """
    from infra.settings import Settings
    from publication.releases.verifying import verify

    found = verify(Settings())
    if as_json:
        typer.echo(json.dumps(_document(found), indent=2))
    else:
        _show(_document(found))
    if found.breaks:
        raise typer.Exit(1)


def correct(
    mart: Annotated[str, _MART],
    first_day: Annotated[datetime, _FIRST_DAY],
    reason: Annotated[str | None, _WANTED] = None,
    login: Annotated[str | None, _LOGIN] = None,
) -> None:
    """Have a published period published once more, from today's data, with noise of its own. Possible once.

    Tells first what is published again, what that spends of the privacy budget, what is left of it and its limit, and
    warns when nothing changed. Without [bold]--reason[/] that is all.

    In a lake that runs with Airflow this asks a steward, who approves or refuses under Required Actions (DAG
    correct_release): nothing is done before. Ask with [bold]--as[/] your own login, so that it says who asked. Without
    Airflow it is done at once, and recorded as decided by whoever ran the command. Then the next build makes the second
    edition. Marts of the same silo and period agree with each other, so they are corrected together.

    Example: [bold]calanque correct fines_by_day 2026-03-01 --reason "a file of 12 March was missing"[/]
    """
    from calanque.cli import steward_requests
    from infra.settings import Settings
    from stewardship import approvals, corrections

    settings = Settings()
    day = first_day.date()
    offered = corrections.offer(settings, mart, day)  # nobody is asked for what cannot be done
    typer.echo(offered.text())
    if warning := offered.warning():
        typer.secho(f"\n{warning}", fg="yellow")
    if reason is None:
        typer.echo("\nnothing is done: to ask for it, say why (--reason)")
        return
    typer.echo("")
    if steward_requests.has_airflow(settings):
        at = steward_requests.ask(
            settings, "correct_release", {"mart": mart, "first_day": str(day), "reason": reason}, login
        )
        typer.echo(f"a steward has to approve the correction of {mart} of the period that begins on {day}: {at}")
        return
    approval = steward_requests.decided_here(settings, "correction", f"{mart} {day}", reason)
    asked = approvals.carry_out_correction(settings, approval, mart, day)
    typer.echo(f"the next build corrects {', '.join(asked)} of the period that begins on {day}")


def withdraw(
    mart: Annotated[str, _MART], first_day: Annotated[datetime, _FIRST_DAY], reason: Annotated[str, _REASON]
) -> None:
    """Take a published period back: out of BI, Iceberg and Parquet, its history included. It gives no budget back.

    Whoever read it before has it still. It is not published again, unless corrected.

    Example: [bold]calanque withdraw crowd_by_day 2026-03-14 --reason "the sensor was at the wrong place"[/]
    """
    from infra.settings import Settings
    from publication.releases import release

    for released in release.withdraw(Settings(), mart, first_day.date(), reason):
        typer.echo(f"{released.mart} v{released.version}: {released.rows} rows")


def _document(found: Verification) -> dict[str, Any]:
    from privacy.spending import CORRECTION, WITHDRAWAL, exact
    from publication.releases.verifying import by_year

    book = found.book
    return {
        "lines": len(found.lines),
        "verified": not found.breaks,
        "breaks": list(found.breaks),
        "budgets": [
            {
                "budget": account.budget,
                "unit": account.unit,
                "currency": account.currency,
                "month": account.month,
                "limit": exact(account.limit),
                "spent": exact(account.spent),
                "left": exact(account.left),
                "corrections": exact(account.corrections),
            }
            for account in book.accounts()
        ],
        "years": [
            {"budget": budget, "year": year, "spent": exact(spent), "corrections": exact(corrections)}
            for (budget, year), (spent, corrections) in by_year(book).items()
        ],
        "published": [
            {**_unit(each.mart, each.first_day, each.last_day, each.edition), "release": each.release}
            for each in book.published()
        ],
        **{
            name: [
                {"recorded_at": line.recorded_at.isoformat(), **line.body} for line in found.lines if line.kind == kind
            ]
            for name, kind in (("corrections", CORRECTION), ("withdrawals", WITHDRAWAL))
        },
        "late_rows": [
            {**_unit(each.mart, each.first_day, each.last_day, each.edition), "rows": rows}
            for each, rows in book.late()
        ],
    }


def _unit(mart: str, first_day: date, last_day: date, edition: int) -> dict[str, Any]:
    return {
        "mart": mart,
        "first_day": first_day.isoformat(),
        "last_day": last_day.isoformat(),
        "edition": edition,
    }


def _show(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    budgets = Table("budget", "month", "limit", "spent", "left", "corrections", title="Budgets, by month")
    for each in document["budgets"]:
        amounts = (each[name] for name in ("limit", "spent", "left", "corrections"))
        budgets.add_row(f"{each['budget']} ({each['currency']} per {each['unit']})", each["month"], *amounts)
    years = Table("budget", "year", "spent", "corrections", title="Sums of the year")
    for each in document["years"]:
        years.add_row(each["budget"], each["year"], each["spent"], each["corrections"])
    told = Table("mart", "period", "what", title="Corrections, withdrawals, late rows")
    for name, what in (("corrections", "to be published again"), ("withdrawals", "withdrawn")):
        for each in document[name]:
            told.add_row(each["mart"], f"{each['first_day']} to {each['last_day']}", f"{what}: {each['reason']}")
    for each in document["late_rows"]:
        told.add_row(each["mart"], f"{each['first_day']} to {each['last_day']}", f"{each['rows']:,} rows came too late")
    console = Console(highlight=False)
    for table in (budgets, years, told):
        if table.row_count:
            console.print(table)
    for sentence in document["breaks"]:
        console.print(sentence, style="red", markup=False)
    published = len(document["published"])
    state = "verified" if document["verified"] else "BROKEN: look at the lines above before anything else is released"
    console.print(f"{document['lines']:,} lines, {published:,} periods published; {state}")
