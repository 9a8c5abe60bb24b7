"""The command ``calanque clock``: whether the lake believes its clock, and a person's word that it is right."""

from __future__ import annotations

import getpass
import json
from datetime import datetime
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command(name="clock", rich_help_panel="The lake")(look)


def look(
    confirm: Annotated[
        datetime | None,
        typer.Option("--confirm", formats=["%Y-%m-%d"], help="Today's date, from a calendar: the clock is right."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why the lake was away, for whoever reads it later.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Tell whether the lake believes its clock. Exits with 1 when not: then nothing is removed or published.

    A clock that leapt by more than CALANQUE_CLOCK_LEAP_DAYS since the lake was last at work may be wrong, or the lake
    was away: docs/runbooks/clock-doubted.md. With [bold]--json[/]: {"shown", "last_seen", "doubts"}.

    Example: [bold]calanque clock --confirm 2026-09-01 --reason "the server room was rebuilt in August"[/]
    """
    from infra.calendar import clock, trusted_clock
    from infra.settings import Settings

    settings = Settings()
    if confirm is not None:
        if not reason.strip():
            raise typer.BadParameter("say in a few words why the lake was away", param_hint="--reason")
        who = f"{getpass.getuser()} (command line)"
        trusted_clock.confirm(settings, confirm.date(), by=who, reason=" ".join(reason.split()))
    doubts = trusted_clock.doubts(settings, "pipeline")
    shown, seen = clock.now(settings), trusted_clock.last_seen(settings, "pipeline")
    if as_json:
        answer = {"shown": shown.isoformat(), "last_seen": seen and seen.isoformat(), "doubts": doubts}
        typer.echo(json.dumps(answer, indent=2))
    else:
        typer.echo(f"The clock shows {shown:%Y-%m-%d %H:%M} UTC.")
        typer.echo(f"The lake was last at work at {seen:%Y-%m-%d %H:%M} UTC." if seen else "It was never at work.")
        for why in doubts:
            typer.secho(f"Not believed: {why}.", fg=typer.colors.RED, err=True)
        if not doubts:
            typer.echo("It is believed.")
    raise typer.Exit(1 if doubts else 0)
