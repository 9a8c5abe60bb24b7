"""Commands about how long data live, and who reads them meanwhile: retention, keys, erase, reads."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from infra.machines.access_log import Read
    from stewardship.retention.holdings import Tally

_JSON = typer.Option("--json", help="Print JSON for a program to read.")
_PANEL = "How long data live"

keys = typer.Typer(
    name="keys",
    help="The keys of pseudonyms and noise: list them, destroy them. Alone, it lists them.",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command(rich_help_panel=_PANEL)(retention)
    app.command(rich_help_panel=_PANEL)(erase)
    app.add_typer(keys, rich_help_panel=_PANEL)
    app.command(rich_help_panel=_PANEL)(reads)


def retention(
    check: Annotated[bool, typer.Option("--check", help="Only look; remove nothing.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Remove everything that is past its limit, in every holding, and prove it. Exits with 1 if anything is left.

    Airflow does this every day; run again, it finds nothing to do. The receipt is retention/<date>.json in bucket
    receipts. With [bold]--json[/]: {"at", "run", "removed": [{"holding", "silo", "limit", "first_day_kept", "rows",
    "objects", "bytes"}], "keys_destroyed", "deliveries_expired", "store", "oldest_kept", "overdue", "failures"}.
    """
    from infra.settings import Settings
    from stewardship.retention import job

    settings = Settings()
    if check:
        oldest, overdue = job.check(settings)
        answer: dict[str, Any] = {"oldest_kept": oldest, "overdue": list(overdue)}
    else:
        outcome = job.run(settings, run_id=_run_id())
        answer, overdue = outcome.as_json(), (*outcome.failures, *outcome.overdue)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        _show([] if check else list(outcome.tallies), answer)
    raise typer.Exit(1 if overdue else 0)


def erase(
    file: Annotated[
        Path | None, typer.Argument(help="A file whose only line is the plate; standard input by default.")
    ] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Remove every conformed row of one vehicle, as far as living keys reach, take none again, and leave a receipt.

    The plate is read from standard input or a file, never from the command line, which other users of the machine and
    the shell's history would see. Published releases are statistics and stay as they are.

    Example: [bold]calanque erase < request.txt[/]
    """
    from infra.settings import Settings
    from stewardship import erasure

    if file is None and sys.stdin.isatty():
        plate = typer.prompt("Plate (not shown)", hide_input=True)
    else:
        plate = file.read_text() if file is not None else sys.stdin.read()
    try:
        done = erasure.erase(Settings(), plate, run=_run_id())
    except erasure.NotAPlateError as refusal:
        typer.secho(str(refusal), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None
    if as_json:
        typer.echo(json.dumps({**done.as_json(), "receipt": done.receipt_key}, indent=2))
        return
    typer.echo(f"{done.removed} rows removed; receipt {done.receipt_key}")
    for table, searched in done.tables.items():
        for month, count in searched.removed.items():
            typer.echo(f"{table}, {month}: {count} rows removed")
        if searched.not_searched:
            typer.echo(f"{table}: not searched, their keys are destroyed: {', '.join(searched.not_searched)}")
    if done.landing:
        last = max(each.gone_on for each in done.landing)
        typer.echo(f"raw bytes of {len(done.landing)} deliveries are in landing until {last} at the latest")
    held = ", ".join(sorted({month for months in done.holds.values() for month in months}))
    typer.echo(f"no row of this vehicle is taken any more of the months whose keys live: {held}")
    typer.echo("when rows of other months are loaded later, erase it again: their keys do not exist yet")
    if done.mirrored is False:
        typer.secho(
            "the keys' mirror of the last backup cannot be reached: a lake restored from it would not know of this "
            "erasure; run `calanque backup` as soon as it is back",
            fg=typer.colors.YELLOW,
            err=True,
        )


@keys.callback()
def list_keys(context: typer.Context, as_json: Annotated[bool, _JSON] = False) -> None:
    """List every key: silo, month, alive or destroyed, and the day it is due to be destroyed."""
    from infra.settings import Settings
    from privacy import key_duty

    if context.invoked_subcommand is not None:
        return
    lines = key_duty.keys(Settings())
    if as_json:
        typer.echo(json.dumps([{**vars(line), "due": line.due.isoformat()} for line in lines], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("silo", "month", "state", "due", title="Keys")
    for line in lines:
        table.add_row(line.silo, line.month, line.state, f"{line.due}{' (overdue)' if line.overdue else ''}")
    Console(highlight=False).print(table)


@keys.command()
def destroy() -> None:
    """Destroy every key that is due, and write the receipt of each. The daily retention job does it too."""
    from infra.settings import Settings
    from privacy import key_duty

    settings = Settings()
    gone = key_duty.destroy_due(settings, run=_run_id())
    for key in gone:
        typer.echo(f"{key.silo} {key.month}: destroyed, receipt {key.key}")
    left = [line for line in key_duty.keys(settings) if line.overdue]
    for line in left:
        typer.secho(f"{line.silo} {line.month}: still there, look at the key store", fg=typer.colors.RED, err=True)
    if left:
        raise typer.Exit(1)
    if not gone:
        typer.echo("no key is due")


@keys.command()
def leaked(
    silo: Annotated[str, typer.Option("--silo", help="The silo whose key has leaked.")],
    month: Annotated[str, typer.Option("--month", help="Its month, as YYYY-MM.")],
) -> None:
    """A key has leaked: destroy it now and give its month's rows new pseudonyms. See docs/runbooks/leaked-key.md.

    Late data of that month are quarantined from then on. Of [bold]--silo noise[/], nothing more is published of units
    that begin in that month.
    """
    from infra.keys.store import MONTHS
    from infra.settings import Settings
    from ingestion.register import silos
    from privacy import key_duty
    from stewardship import rekeying

    if silo in MONTHS:
        try:
            gone = key_duty.destroy(Settings(), silo, month, run=_run_id(), reason="leaked")
        except ValueError as refusal:
            raise typer.BadParameter(str(refusal), param_hint="--month") from None
        typer.echo(f"the key of {silo} for {month} is destroyed, receipt {gone.key}")
        return
    if silo not in silos():
        raise typer.BadParameter(f"there is no silo {silo!r}; there are: {', '.join(silos())}", param_hint="--silo")
    try:
        done = rekeying.rekey(Settings(), silo, month, run=_run_id())
    except ValueError as refusal:
        raise typer.BadParameter(str(refusal), param_hint="--month") from None
    for table, rows in done.rows.items():
        typer.echo(f"{table}, {month}: {rows:,} rows have new pseudonyms")
    typer.echo(f"the key of {silo} for {month} is destroyed, receipt {done.receipt_key}")


def reads(
    since: Annotated[
        datetime | None, typer.Option("--since", formats=["%Y-%m-%d"], help="From this day on; a week by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every read, as JSON for a program to read.")] = False,
) -> None:
    """Tell who read landing, quarantine and conformed tables, as the servers saw it, for the data protection officer.

    By role, program and place, how often and until when; what was refused is there too, and what nobody signed.
    With [bold]--json[/]: [{"at", "by", "role", "verb", "what", "status", "came_from", "program"}].

    Example: [bold]calanque reads --since 2026-03-01[/]
    """
    from infra.calendar import clock
    from infra.machines import access_log
    from infra.settings import Settings

    settings = Settings()
    first = since.date() if since else clock.now(settings).date() - timedelta(days=7)
    found = list(access_log.reads(settings, first))
    if as_json:
        lines = [{**asdict(read), "at": read.at.isoformat(timespec="milliseconds")} for read in found]
        typer.echo(json.dumps(lines, indent=2))
        return
    _show_reads(found)


def _show(tallies: list[Tally], answer: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    removed = Table("holding", "silo", "limit", "first day kept", "rows", "objects", "bytes", title="Removed")
    for tally in tallies:
        if tally.anything:
            figures = (f"{tally.rows:,}", f"{tally.objects:,}", f"{tally.bytes:,}")
            removed.add_row(tally.holding, tally.silo or "", tally.limit, str(tally.first_day_kept or ""), *figures)
    if removed.row_count:
        console.print(removed)
    else:
        console.print("nothing was removed")
    for key in answer.get("keys_destroyed", ()):
        console.print(f"key destroyed: {key}")
    for delivery in answer.get("deliveries_expired", ()):
        console.print(f"never read, and its bytes are gone: delivery {delivery}", style="yellow")
    wrong = [*answer.get("failures", ()), *answer["overdue"]]
    for sentence in wrong:
        console.print(sentence, style="red", markup=False)
    if not wrong:
        console.print("everything that is left is within its limit")


def _run_id() -> str:
    return f"cli-{uuid.uuid4().hex[:12]}"


def _show_reads(found: Iterable[Read]) -> None:
    from rich.console import Console
    from rich.table import Table

    groups: dict[tuple[str, ...], list[Read]] = {}
    for read in found:
        parts = read.what.split("/")
        place = read.what if read.by == "database" else "/".join(parts[: 3 if parts[0] == "lake" else 2])
        answer = "refused" if (read.status or 0) >= 400 else ""
        groups.setdefault((read.role or "(nobody)", read.verb, place, answer, read.program), []).append(read)
    table = Table("role", "verb", "what", "", "program", "times", "last", title="Reads")
    for key, reads in sorted(groups.items()):
        table.add_row(*key, f"{len(reads):,}", f"{max(read.at for read in reads):%Y-%m-%d %H:%M}")
    console = Console(highlight=False)
    console.print(table if groups else "nothing was read")
