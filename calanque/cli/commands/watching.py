"""Commands about what people are warned of: watch, alerts."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stewardship.alerts import Episode

_JSON = typer.Option("--json", help="Print JSON for a program to read.")
_PANEL = "What people are told"


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (watch, alerts):
        app.command(rich_help_panel=_PANEL)(command)


def watch(
    daily: Annotated[bool, typer.Option("--daily", help="Also check limits, ledger and published files.")] = False,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Look at the lake once, warn of what is new, and say what stands. Airflow does this every quarter of an hour.

    Too old, too few or too many rows, unusual quarantine and warnings, refused and parked deliveries, marts held back,
    store and disk. Each is told once, by e-mail (CALANQUE_SMTP_URL, CALANQUE_ALERT_TO) and webhook
    (CALANQUE_WEBHOOK_URL), and again when it is over. Exits with 1 when a check could not be made or a message waits.

    With [bold]--json[/]: {"begun": [...], "over": [...], "standing": [...], "sent", "waiting": [...], "failures"}.
    """
    from infra.settings import Settings
    from stewardship.watch import watch as look

    found = look(Settings(), daily=daily)
    if as_json:
        answer = {
            "begun": [asdict(alert) for alert in found.begun],
            "over": [{"kind": kind, "key": key} for kind, key in found.over],
            "standing": [_document(episode) for episode in found.standing],
            "sent": found.sent.sent,
            "waiting": list(found.sent.failures),
            "failures": list(found.failures),
        }
        typer.echo(json.dumps(answer, indent=2, default=str))
    else:
        _show(found.standing, "What stands")
        for sentence in (*found.failures, *found.sent.failures):
            typer.secho(sentence, fg=typer.colors.RED, err=True)
        typer.echo(f"{len(found.begun)} new, {len(found.over)} over, {found.sent.sent} messages sent")
    raise typer.Exit(1 if found.failures or found.sent.failures else 0)


def alerts(
    days: Annotated[int, typer.Option("--days", min=0, help="Also what was over in the last so many days.")] = 0,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List what people were warned of and stands, without looking anew."""
    from infra import database
    from infra.calendar import clock
    from infra.settings import Settings
    from stewardship import alerts as warnings

    settings = Settings()
    with database.connect(settings, "steward", "lake") as connection:
        since = clock.now(settings) - timedelta(days=days)
        found = warnings.history(connection, since) if days else warnings.standing(connection)
    if as_json:
        typer.echo(json.dumps([_document(episode) for episode in found], indent=2, default=str))
    else:
        _show(found, f"Warnings of the last {days} days" if days else "What stands")


def _document(episode: Episode) -> dict[str, Any]:
    return asdict(episode)


def _show(episodes: Iterable[Episode], title: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "since", "owner", "what", title=title)
    for episode in episodes:
        over = f" (over since {episode.resolved_at:%Y-%m-%d %H:%M})" if episode.resolved_at else ""
        table.add_row(episode.kind, f"{episode.first_seen:%Y-%m-%d %H:%M}", episode.owner, episode.sentence + over)
    console = Console(highlight=False)
    if table.row_count:
        console.print(table)
    else:
        console.print("nothing to warn of")
