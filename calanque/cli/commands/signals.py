"""Commands that tell what happened and where figures come from: logs, lineage."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from infra.lineage.graph import Edge, Lineage, Node
    from infra.registry import CommitRow
    from infra.settings import Settings

_JSON = typer.Option("--json", help="Print JSON for a program to read.")
_PANEL = "What happened"
_OF_LINE = ("at", "level", "stage", "event", "logger", "silo", "delivery_id", "run_id")


def register(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (logs, lineage):
        app.command(rich_help_panel=_PANEL)(command)


def logs(
    delivery: Annotated[
        str | None, typer.Option("--delivery", help="Follow one delivery: its id, or how that begins.")
    ] = None,
    silo: Annotated[str | None, typer.Option("--silo", help="Only this silo.")] = None,
    stage: Annotated[
        str | None, typer.Option("--stage", help="Only this stage: land, ingest, build, release, retention.")
    ] = None,
    lines: Annotated[int, typer.Option(min=1, help="How many lines, the newest of them.")] = 200,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Show what the lake did, line by line; or follow one delivery from its landing to the releases it is in.

    With [bold]--json[/] each line is an object: {"at", "level", "stage", "run_id", "silo", "delivery_id", "event",
    ...}. The files are home/logs/pipeline/<day>.jsonl.

    Example: [bold]calanque logs --delivery 61556b1bc7fa[/]
    """
    from infra import logs as kept
    from infra.settings import Settings

    settings = Settings()
    found: Iterable[dict[str, Any]] = kept.read(settings)
    if delivery is not None:
        found = _following(list(found), settings, delivery)
    chosen = [line for line in found if silo in (None, line.get("silo")) and stage in (None, line.get("stage"))]
    if not chosen:
        typer.secho("no line of the log is about that", fg=typer.colors.YELLOW, err=True)
        raise typer.Exit(1)
    for line in chosen[-lines:]:
        if as_json:
            typer.echo(json.dumps(line, ensure_ascii=False))
        else:
            rest = " ".join(
                f"{key}={value}" for key, value in line.items() if key not in _OF_LINE and value is not None
            )
            typer.echo(
                f"{line['at'][:19]} {line.get('stage', ''):<8} {line['level']:<7} {line['event']}  {rest}".rstrip()
            )


def lineage(
    name: Annotated[
        str, typer.Argument(metavar="TABLE[.COLUMN]", help="A mart, conformed.<table>, or a column of one.")
    ],
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Tell where a table's columns come from, down to the delivered column, and what each can tell of a person.

    With [bold]--json[/]: {"table", "columns": [{"name", "classification", "from": [{"table", "column",
    "classification", "direct", "masked"}]}], "path": [...]}; the path, edge by edge, for one column only.

    Example: [bold]calanque lineage fines_by_day.fines[/]
    """
    from infra.settings import Settings

    whole = _lineage(Settings())
    node, column = _find(whole, name)
    answer = _described(whole, node, column)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("column", "class", "comes from", title=node.name)
    for each in answer["columns"]:
        table.add_row(
            each["name"], each["classification"], "\n".join(map(_sentence, each["from"])) or "nothing delivered"
        )
    console = Console(highlight=False)
    console.print(table)
    for edge in answer["path"]:
        how = "" if edge["direct"] else ", which only decides"
        noise = ", with noise" if edge["masked"] else ""
        console.print(f"{edge['to']} from {edge['from']}{how}{noise}", markup=False)


# --- following a delivery --------------------------------------------------------------------------------------------


def _following(lines: list[dict[str, Any]], settings: Settings, beginning: str) -> Iterator[dict[str, Any]]:
    """The lines about a delivery, then those of builds and releases whose periods have its days and saw its commit."""
    ids = {line["delivery_id"] for line in lines if str(line.get("delivery_id", "")).startswith(beginning)}
    if len(ids) > 1:
        raise typer.BadParameter(f"{len(ids)} deliveries begin with that: give more of the id", param_hint="--delivery")
    commits = _commits(settings, ids)
    for line in lines:
        if line.get("delivery_id") in ids or any(_has_seen(line, commit) for commit in commits):
            yield line


def _commits(settings: Settings, delivery_ids: set[str]) -> list[CommitRow]:
    from infra import database, registry

    with database.connect(settings, "steward", "lake") as connection:
        return [commit for each in delivery_ids for commit in registry.commits_of(connection, each)]


def _has_seen(line: dict[str, Any], commit: CommitRow) -> bool:
    if line.get("silo") != commit.silo or line.get("commit_seq", 0) < commit.seq:
        return False
    periods = [tuple(map(date.fromisoformat, period.split("/"))) for period in line.get("days", ())]
    return any(first <= day <= last for first, last in periods for day in commit.days)


# --- following a column ----------------------------------------------------------------------------------------------


def _lineage(settings: Settings) -> Lineage:
    from infra.build_spec import CityReference
    from infra.city.profile import load_city
    from infra.lineage.graph import join
    from ingestion.contracts.declared_lineage import of_register
    from publication.builds import project

    declared = project.load(settings, CityReference.of(load_city(settings)))
    return join(of_register(), declared.lineage())


def _find(whole: Lineage, name: str) -> tuple[Node, str | None]:
    """The table that is meant, and its column when one is."""
    nodes = {node.name: node for node in whole.nodes} | {
        node.name.partition(".")[2]: node for node in whole.nodes if node.is_mart
    }
    if name in nodes:
        return nodes[name], None
    table, _, column = name.rpartition(".")
    if table in nodes and any(each.name == column for each in nodes[table].columns):
        return nodes[table], column
    known = ", ".join(sorted(node.name for node in whole.nodes if node.is_mart or node.kind in {"source", "delivered"}))
    raise typer.BadParameter(f"there is no table or column {name!r}; tables: {known}", param_hint="TABLE[.COLUMN]")


def _described(whole: Lineage, node: Node, column: str | None) -> dict[str, Any]:
    from infra.lineage.graph import ROWS
    from infra.openlineage.columns import sources

    delivered = {each.name for each in whole.nodes if each.kind == "delivered"}
    classes = {(each.name, own.name): own.classification.value for each in whole.nodes for own in each.columns}
    found = sources(whole, node.name, delivered)
    wanted = [each for each in node.columns if each.name == column or (column is None and each.name != ROWS)]
    return {
        "table": node.name,
        "columns": [
            {
                "name": each.name,
                "classification": each.classification.value,
                "from": [
                    {
                        "table": source.node,
                        "column": source.column,
                        "classification": classes[source.node, source.column],
                        "direct": source.direct,
                        "masked": source.masked,
                    }
                    for source in found.get(each.name, ())
                ],
            }
            for each in wanted
        ],
        "path": [_edge(edge) for edge in whole.upstream(node.name, column)] if column else [],
    }


def _edge(edge: Edge) -> dict[str, Any]:
    return {
        "from": f"{edge.from_node}.{edge.from_column}",
        "to": f"{edge.to_node}.{edge.to_column}",
        "direct": edge.direct,
        "masked": edge.masked,
    }


def _sentence(source: dict[str, Any]) -> str:
    decides = "" if source["direct"] else ", decides only"
    masked = ", masked" if source["masked"] else ""
    name = f"the rows of {source['table']}" if source["column"] == "*" else f"{source['table']}.{source['column']}"
    return f"{name} ({source['classification']}{decides}{masked})"
