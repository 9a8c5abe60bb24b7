"""Commands that move data: drop, run, report."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from calanque.cli.listing import SILOS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from infra.registry import SiloReport
    from infra.settings import Settings
    from publication.settling import Wait

_JSON = typer.Option("--json", help="Print JSON for a program to read.")
_SILO = typer.Option("--silo", help=f"The silo: {SILOS}.")


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (drop, run, report, deliveries, deliverer):
        app.command(rich_help_panel="The data")(command)


def drop(
    files: Annotated[list[Path], typer.Argument(help="Files to deliver; each is one delivery.")],
    silo: Annotated[str, _SILO],
    format_name: Annotated[
        str | None, typer.Option("--format", help="Name the format instead of having it recognised from the content.")
    ] = None,
    corrects: Annotated[
        str | None,
        typer.Option("--corrects", help="Delivery id that this file replaces entirely: see `calanque deliveries`."),
    ] = None,
    covers: Annotated[
        list[str] | None,
        typer.Option(
            "--covers",
            metavar="DAYS",
            help="A day (2026-01-31) or days (2026-01-01/2026-01-31) for which the silo is complete with these files.",
        ),
    ] = None,
) -> None:
    """Deliver files to a silo: copy them into its drop folder, where Airflow or `calanque run` finds them.

    Delivering the same bytes twice changes nothing. Rows with known keys replace the records they correct. Rows are
    published when somebody declared the silo complete for all days of their period: by [bold]--covers[/], by a name
    that ends in the month or day of the file where its format says so, or with [bold]calanque cover[/].

    Example: [bold]calanque drop PVE_2026-11.tsv --silo verbalisations[/]
    Example: [bold]calanque drop export.csv --silo tows --covers 2026-01-01/2026-01-31[/]
    """
    from infra.settings import Settings
    from ingestion.delivery import landing
    from ingestion.refusal import Refused

    settings = Settings()
    refused = False
    for path in files:
        try:
            target = landing.drop(settings, silo, path, format=format_name, corrects=corrects, covers=covers or ())
        except Refused as reason:
            refused = True
            typer.secho(reason.sentence, fg=typer.colors.RED, err=True)
        except (OSError, KeyError) as reason:
            refused = True
            typer.secho(f"{path}: {_plain(reason)}", fg=typer.colors.RED, err=True)
        else:
            typer.echo(f"{path.name}: delivered to {silo} as {target.name}")
            if not covers:
                _tell_days(settings, silo, path, format_name)
    if refused:
        raise typer.Exit(1)


def _tell_days(settings: Settings, silo: str, path: Path, format_name: str | None) -> None:
    """Say what a file declares or, if nothing does, where its rows lie; what is wrong with it is told when it lands."""
    from ingestion.delivery.preview import preview
    from ingestion.refusal import Refused

    with suppress(Refused, OSError):
        said = preview(settings, silo, path, format_name)
        if said.sentence:
            typer.secho(f"{path.name}: {said.sentence}", fg=None if said.tells else typer.colors.YELLOW, err=True)


def deliverer(silo: Annotated[str, _SILO], as_json: Annotated[bool, _JSON] = False) -> None:
    """Let a partner deliver for a silo by S3: make its credentials if there are none, and show them.

    They can put objects under <silo>/ of bucket drop, and neither list nor read anything. Run [bold]calanque up[/] for
    the store to know them; delete the secret s3-deliver-<silo> and run it again to end it. Metadata "format",
    "corrects" and "covers" (days, with commas between) of an object say what [bold]calanque drop[/] says by options.

    Example: [bold]calanque deliverer --silo tows[/]
    """
    from infra import endpoints, object_store
    from infra.machines import provisioning
    from infra.settings import Settings
    from ingestion.delivery import collecting
    from ingestion.register import silos

    settings = Settings()
    if silo not in silos():
        raise typer.BadParameter(f"there is no silo {silo!r}; there are: {', '.join(silos())}", param_hint="--silo")
    role = provisioning.admit_deliverer(settings, silo)
    access_key, secret_key = object_store.credentials(settings, role)
    answer = {
        "endpoint": endpoints.load(settings).s3_url,
        "bucket": collecting.BUCKET,
        "prefix": f"{silo}/",
        "access_key": access_key,
        "secret_key": secret_key,
    }
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
    else:
        for name, value in answer.items():
            typer.echo(f"{name}: {value}")
        if settings.store == "external":
            typer.echo(f"policy, for the store's administrator: {json.dumps(provisioning.iam_policy(role))}")


def run(
    silo: Annotated[str | None, typer.Option("--silo", help="Only this silo; all of them by default.")] = None,
    full_refresh: Annotated[
        bool,
        typer.Option(
            "--full-refresh", help="Also build every published period again, and fail unless it comes out the same."
        ),
    ] = False,
) -> None:
    """Do the work of the DAGs now, without Airflow: land, ingest, build, release.

    A delivery that fails does not stop the next, nor a silo another; the command then exits with 1.
    """
    from infra.settings import Settings
    from ingestion.conformed import undeclared
    from ingestion.register import silos
    from publication import report
    from publication.builds import building
    from publication.releases import release

    settings = Settings()
    names = list(silos())
    if silo is not None:
        if silo not in names:
            raise typer.BadParameter(f"there is no silo {silo!r}; there are: {', '.join(names)}", param_hint="--silo")
        names = [silo]
    failed = bool([name for name in names if not _ingest(settings, name)])
    for name, rows in _undeclared(settings, names).items():
        typer.secho(undeclared.sentence(name, rows), fg=typer.colors.YELLOW, err=True)
    _say(settings, "building marts ...")
    built = building.build(settings)
    for problem in built.failed if built else ():
        failed = True
        for cause in problem.problems:
            typer.secho(f"mart {problem.mart.name}: {cause.sentence()}", fg=typer.colors.RED, err=True)
    released = release.release_latest(settings)
    for mart in released:
        typer.echo(f"{mart.mart} v{mart.version}: {mart.rows} rows, {mart.period_start} to {mart.period_end}")
    if not released:
        typer.echo("no mart changed")
    for wait in report.waiting(settings):
        typer.secho(wait.sentence, fg=typer.colors.YELLOW, err=True)
    told = {problem.mart.name for problem in built.failed} if built else set()
    for held, because in report.held_back(settings).items():
        if held in told:
            continue
        failed = True
        typer.secho(f"{held} is held back, its last release stays: {because}", fg=typer.colors.RED, err=True)
    if full_refresh:
        _compare(settings)
    if failed:
        raise typer.Exit(1)


def report(as_json: Annotated[bool, _JSON] = False) -> None:
    """Tell what became of every row: by silo, rows in = accepted + quarantined, by rule; by mart, its last release.

    By silo also the rows that no build reads, of days that nobody declared, and the periods that wait for something.

    With [bold]--json[/]: {"silos": {S: {"deliveries", "rows_in", "accepted", "quarantined", "by_rule", "undeclared":
    {day: rows}, ...}}, "marts": {M: {"rows", "release", "period_start", "period_end", "late_rows", "held_back"}},
    "waiting": [{"silo", "first_day", "last_day", "missing": [day, ...], "deliveries": [id, ...]}]}.
    """
    from infra.settings import Settings
    from publication.report import waiting

    settings = Settings()
    silos, marts = collect(settings)
    undeclared = _undeclared(settings, list(silos))
    waits = waiting(settings)
    if as_json:
        answer = {
            "silos": {
                name: {
                    "deliveries": found.deliveries,
                    "landed": found.landed,
                    "committed": found.committed,
                    "refused": found.refused,
                    "parked": found.parked,
                    "rows_in": found.rows_in,
                    "accepted": found.accepted,
                    "quarantined": found.quarantined,
                    "by_rule": found.by_rule,
                    "warnings": found.warnings,
                    "undeclared": {str(day): rows for day, rows in undeclared.get(name, {}).items()},
                }
                for name, found in silos.items()
            },
            "marts": marts,
            "waiting": [
                {
                    "silo": wait.silo,
                    "first_day": wait.first_day,
                    "last_day": wait.last_day,
                    "missing": wait.missing,
                    "deliveries": list(wait.waiting),
                }
                for wait in waits
            ],
        }
        typer.echo(json.dumps(answer, indent=2, default=str))
        return
    show(silos, marts)
    _show_waiting(undeclared, waits)


def _show_waiting(undeclared: Mapping[str, Mapping[date, int]], waits: Sequence[Wait]) -> None:
    """Say what is not published yet, and what to do about it."""
    from ingestion.conformed.undeclared import sentence

    for said in (*(sentence(silo, rows) for silo, rows in undeclared.items()), *(wait.sentence for wait in waits)):
        typer.secho(said, fg=typer.colors.YELLOW)


def _undeclared(settings: Settings, silos: Sequence[str]) -> dict[str, dict[date, int]]:
    """By silo that has any, its rows on days that nobody declared."""
    from infra import database
    from ingestion.conformed import undeclared

    with database.connect(settings, "pipeline", "lake") as connection:
        found = undeclared.rows(settings, connection, silos, "pipeline")
    return {silo: rows for silo, rows in found.items() if rows}


def deliveries(
    silo: Annotated[str | None, typer.Option("--silo", help="Only this silo; all of them by default.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="How many to show.")] = 20,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List the newest deliveries: file, id, what became of its rows, and why when it was refused or parked.

    With [bold]--json[/]: [{"silo", "delivery", "file", "landed_at", "format", "corrects", "status", "reason",
    "rows_in", "accepted", "quarantined", "by_rule", "warnings", "replays"}].
    """
    from calanque.cli import listing
    from infra import database
    from infra.settings import Settings
    from stewardship import review

    with database.connect(Settings(), "steward", "lake") as connection:
        found = review.deliveries(connection, silo, troubled=False, most=most)
    if as_json:
        typer.echo(json.dumps(found, indent=2, default=str))
        return
    listing.show(found)
    if not found:
        typer.echo("nothing was delivered yet")


def collect(settings: Settings) -> tuple[dict[str, SiloReport], dict[str, dict[str, Any]]]:
    """What the registry knows: each silo's totals (zeros for one that never delivered) and each mart's last release."""
    from infra import database, registry
    from ingestion.register import silos
    from publication.report import marts

    with database.connect(settings, "pipeline", "lake") as connection:
        known = {found.silo: found for found in registry.report(connection)}
    return {name: known.get(name) or registry.SiloReport.empty(name) for name in silos()}, marts(settings)


def show(silos: dict[str, SiloReport], marts: dict[str, dict[str, Any]]) -> None:
    """Print the report as tables."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    def table(title: str, *columns: str) -> Table:
        """One that shows every id and figure whole at 80 columns."""
        made = Table(*columns, title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        for column in made.columns:
            column.no_wrap = True
        return made

    deliveries = table("Deliveries", "silo", "files", "refused", "parked", "rows in", "accepted", "quarantined")
    rules = table("Rows by rule", "silo", "rule", "rows", "")
    for name, found in silos.items():
        figures = (
            *(found.deliveries, found.refused, found.parked),
            *(found.rows_in, found.accepted, found.quarantined),
        )
        deliveries.add_row(name, *(f"{figure:,}" for figure in figures))
        for counts, became in ((found.by_rule, "quarantined"), (found.warnings, "warned of")):
            for rule, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
                rules.add_row(name, rule, f"{count:,}", became)
    released = table("Marts", "mart", "release", "rows", "from", "to", "late rows")
    for name, mart in marts.items():
        version, first, last = mart["release"], mart["period_start"], mart["period_end"]
        last_columns = (first or "", last or "", f"{mart['late_rows']:,}")
        released.add_row(name, f"v{version}" if version else "none", f"{mart['rows']:,}", *last_columns)
    console = Console(highlight=False)
    for shown in (deliveries, rules, released):
        if shown.row_count:
            console.print(shown)
    for name, mart in marts.items():
        if mart["held_back"]:
            console.print(
                f"{name} is held back, its last release stays: {mart['held_back']}", style="red", markup=False
            )


def _compare(settings: Settings) -> None:
    """Build what is published again; a refusal says what would come out otherwise."""
    from publication.builds.rebuilding import rebuild

    _say(settings, "building what is published again ...")
    typer.echo(rebuild(settings).sentence)


def _ingest(settings: Settings, silo: str) -> bool:
    """Land and ingest one silo, telling what happened; False when something has to be looked at and run again."""
    from infra.transient import Several, explained
    from ingestion import pipeline
    from ingestion.delivery import landing
    from ingestion.receipts import Receipt

    def tell(receipt: Receipt) -> None:
        if receipt.status == "refused":
            typer.secho(f"{silo}: {receipt.reason}", fg=typer.colors.YELLOW, err=True)
        elif receipt.status == "parked":
            typer.secho(f"{silo}: parked until somebody has looked: {receipt.reason}", fg=typer.colors.RED, err=True)
        else:
            tally = receipt.tally
            _say(
                settings,
                f"{silo}: {receipt.file_name}: {tally.rows_in:,} rows in, {tally.accepted:,} accepted, "
                f"{tally.quarantined:,} quarantined" + (f"; {receipt.reason}" if receipt.reason else ""),
            )

    try:
        swept = landing.sweep(settings, silo)
        for landed in swept.landed:
            if landed.outcome != "new":
                _say(settings, f"{silo}: {landed.sentence}")
        for turned_away in swept.turned_away:
            typer.secho(f"{silo}: {turned_away.sentence}", fg=typer.colors.YELLOW, err=True)
        pipeline.ingest(settings, silo, tell)
    except Several as failure:
        typer.secho(str(failure), fg=typer.colors.RED, err=True)
        return False
    except Exception as failure:
        sentence = explained(failure)
        if sentence is None:
            raise
        typer.secho(f"{silo}: {sentence}; what was delivered waits", fg=typer.colors.RED, err=True)
        return False
    return True


def _say(settings: Settings, sentence: str) -> None:
    if not settings.quiet:
        print(sentence, file=sys.stderr)


def _plain(reason: OSError | KeyError) -> str:
    """An error's own words, without Python's quoting."""
    if isinstance(reason, OSError):
        return reason.strerror or str(reason)
    return str(reason.args[0])
