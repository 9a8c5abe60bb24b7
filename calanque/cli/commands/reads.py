"""The command ``calanque reads``: who read what is personal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from infra.machines.access_log import Read


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command(rich_help_panel="How long data live")(reads)


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
    _show(found)


def _show(found: Iterable[Read]) -> None:
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
