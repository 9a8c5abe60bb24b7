"""Commands for stewards: what was quarantined, and conforming a delivery again."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import polars as pl

    from infra.settings import Settings

_JSON = typer.Option("--json", help="Print JSON for a program to read.")
_PANEL = "What stewards decide"

quarantine = typer.Typer(
    name="quarantine",
    help="Rows that were not accepted: which, by what rule, what to do. Never what is in them.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(quarantine, rich_help_panel=_PANEL)
    app.command(rich_help_panel=_PANEL)(replay)


@quarantine.command("list")
def list_deliveries(
    silo: Annotated[str | None, typer.Option("--silo", help="Only this silo; all of them by default.")] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List the deliveries with quarantined rows, and those refused or parked, newest first.

    With [bold]--json[/]: [{"silo", "delivery", "file", "landed_at", "format", "corrects", "status", "reason",
    "rows_in", "accepted", "quarantined", "by_rule", "warnings", "replays"}].
    """
    from calanque.cli import listing
    from infra import database
    from infra.settings import Settings
    from stewardship import review

    with database.connect(Settings(), "steward", "lake") as connection:
        found = review.deliveries(connection, silo)
    if as_json:
        typer.echo(json.dumps(found, indent=2, default=str))
        return
    listing.show(found)
    if not found:
        typer.echo("nothing is quarantined")


@quarantine.command()
def show(
    silo: Annotated[str, typer.Argument(help="The silo.")],
    delivery: Annotated[str, typer.Argument(help="The delivery's id, or its beginning.")],
    rule: Annotated[str | None, typer.Option("--rule", help="Only rows that broke this rule.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, help="How many row numbers of a rule to show.")] = 20,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show which rows of a delivery broke which rule, what it means and what to do. Columns are the sender's own.

    Rows are numbered as a spreadsheet numbers them: where the file has a header, that is row 1. A row may have broken
    several rules. With [bold]--json[/]: {"delivery": {...}, "rules": [{"rule", "severity", "column", "meaning", "rows",
    "row_numbers"}]}.
    """
    from calanque.cli.listing import below
    from calanque.cli.listing import show as show_deliveries
    from infra import database
    from infra.settings import Settings
    from ingestion.replay import find
    from stewardship import review
    from stewardship.watch.delivery_checks import first_row

    settings = Settings()
    with database.connect(settings, "steward", "lake") as connection:
        found = find(connection, silo, delivery)
    first = first_row(found)
    broken = review.rules(settings, silo, found.delivery_id, rule, most, first_row=first)
    if as_json:
        typer.echo(json.dumps({"delivery": review.described(found), "rules": _lines(broken)}, indent=2, default=str))
        return
    show_deliveries([review.described(found)])
    if not broken.is_empty():
        typer.echo("\nRows as a spreadsheet numbers them" + (": the header is row 1." if first == 2 else "."))
    for line in _lines(broken):
        more = line["rows"] - len(line["row_numbers"])
        where = f" in column {line['column']}" if line["column"] else ""
        typer.echo(f"\n{line['rule']}{where}: {line['rows']:,} rows ({line['severity']})")
        below(line["meaning"])
        numbers = ", ".join(str(number) for number in line["row_numbers"])
        below(f"rows {numbers}" + (f" and {more:,} more" if more > 0 else ""))


def replay(
    silo: Annotated[str, typer.Argument(help="The silo.")],
    delivery: Annotated[str, typer.Argument(help="The delivery's id, or its beginning.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, in a sentence: it stays in the receipt.")],
    later: Annotated[bool, typer.Option("--later", help="Leave the work to the next run of Airflow.")] = False,
) -> None:
    """Conform a delivery again, with today's code and city profile: after a mistake of ours was mended.

    Rows that were quarantined and are good now are accepted, once; a parked or refused delivery is tried again. Its
    bytes are kept for a few days only: after that, have the rows delivered in a new file.

    Example: [bold]calanque replay tows 5ac8df539349 --reason "the pound's new date format is known now"[/]
    """
    from infra.settings import Settings
    from ingestion.replay import replay as again

    settings = Settings()
    was = again(settings, silo, delivery, reason, getpass.getuser())
    if was == "landed":
        typer.echo("it waits already")
    if later:
        typer.echo(f"it was {was}: the next run of land_{silo} ingests it")
        return
    _ingest(settings, silo, delivery)


def _ingest(settings: Settings, silo: str, delivery: str) -> None:
    from ingestion import pipeline
    from ingestion.receipts import Receipt
    from stewardship.watch import after_ingestion

    failed = False

    def tell(receipt: Receipt) -> None:
        nonlocal failed
        if receipt.delivery_id.startswith(delivery):
            failed = receipt.status != "committed"
            tally = receipt.tally
            typer.echo(
                f"{receipt.file_name}: {receipt.status}, {tally.rows_in:,} rows in, {tally.accepted:,} accepted, "
                f"{tally.quarantined:,} quarantined" + (f"; {receipt.reason}" if receipt.reason else "")
            )

    try:
        pipeline.ingest(settings, silo, tell)
    except pipeline.IngestionError as failure:
        typer.secho(str(failure), fg=typer.colors.RED, err=True)
        failed = True
    after_ingestion(settings)
    raise typer.Exit(1 if failed else 0)


def _lines(broken: pl.DataFrame) -> list[dict[str, Any]]:
    return broken.to_dicts()
