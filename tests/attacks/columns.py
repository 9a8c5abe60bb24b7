"""P3: looks for a row-level or id-like column in published tables, physically, without believing any declaration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from tests.attacks.findings import Control, Finding
from tests.attacks.published import PERIOD, Table

IDENTIFIERS: Mapping[str, str] = {
    "digest": r"^(0x)?[0-9a-fA-F]{16,}$",
    "uuid": r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
    "base64": r"^[A-Za-z0-9+/_-]{21,}={0,2}$",
    "plate": r"(?i)^[A-HJ-NP-TV-Z]{2}[ -]?\d{3}[ -]?[A-HJ-NP-TV-Z]{2}$",
    "e-mail": r"[^@\s]+@[^@\s]+\.[a-z]{2,}",
    "phone": r"^(\+33|0)[ .]?[1-9]([ .]?\d{2}){4}$",
    "IMSI": r"^\d{14,16}$",
    "GPS position": r"-?\d{1,2}\.\d{5,}\s*[,; ]\s*-?\d{1,3}\.\d{5,}",
}
PLAIN = (pl.Date, pl.String, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float64)
GREATEST_COUNT = 10**9


def suspects(table: pl.DataFrame) -> Iterator[str]:
    """One sentence for everything about a table that looks like a person's row or a person's number."""
    for name, kind in table.schema.items():
        if kind not in PLAIN:
            yield f"column {name} is of type {kind}, which no count needs"
    described = [name for name in table.columns if name not in PERIOD and table.schema[name] == pl.String]
    described = [name for name in described if not name.endswith("_label")]
    for name in described:
        yield from _of_text(table, name)
    for name, kind in table.schema.items():
        if kind.is_numeric():
            yield from _of_numbers(table, name)
    try:
        published = Table(table)
        key = published.key
    except ValueError:
        yield "there is no single column of counts with a label beside it"
        return
    cells = table.select(key).n_unique()
    if cells != table.height:
        yield f"{table.height} rows are about {cells} cells: rows are not cells"
    wanted = table["period_start"].n_unique()
    for name in published.dimensions:
        wanted *= table[name].n_unique()
    if cells != wanted:
        yield f"{cells} cells are not a full grid, which would have {wanted}: its rows depend on data"


def _of_text(table: pl.DataFrame, name: str) -> Iterator[str]:
    values = table[name].drop_nulls().unique()
    for what, pattern in IDENTIFIERS.items():
        found = int(values.str.contains(pattern).sum())
        # A public name may happen to be one long word; a column of identifiers has many and they look alike.
        if found and (what != "base64" or found > len(values) / 2):
            yield f"column {name} has {found} values that look like a {what}"
    seen = table.group_by(name).agg(pl.col("period_start").n_unique().alias("periods"))
    periods = table["period_start"].n_unique()
    if periods > 1 and len(values) > 1 and seen["periods"].min() != periods:
        yield f"column {name} has values that some periods lack: it is no public list"


def _of_numbers(table: pl.DataFrame, name: str) -> Iterator[str]:
    values = table[name].drop_nulls()
    if not len(values):
        return
    if float(values.abs().max() or 0) > GREATEST_COUNT:  # type: ignore[arg-type]
        yield f"column {name} has numbers too great for a count"
    elif table.schema[name].is_integer() and len(values) > 50 and values.n_unique() == len(values):
        # Great counts may all differ; numbers that follow each other count rows, whatever they are called.
        low, high = values.min(), values.max()
        if f"{name}_label" not in table.columns or int(high) - int(low) < 2 * len(values):  # type: ignore[arg-type]
            yield f"column {name} has a number of its own in each of {len(values)} rows"


def attack(tables: Mapping[str, Table], fines: pl.DataFrame) -> Finding:
    """All published tables, and two that a careless change would publish: a pseudonym beside counts, rows of fines."""
    found = {mart: list(suspects(table.frame)) for mart, table in tables.items()}
    mart = max(tables.values(), key=lambda table: table.frame.height).frame
    pseudonyms = fines["vehicle"].drop_nulls().bin.encode("hex").head(mart.height)
    broken = [
        mart.head(len(pseudonyms)).with_columns(vehicle=pseudonyms).select("vehicle", pl.exclude("vehicle")),
        mart.head(len(pseudonyms)).with_columns(vehicle=(pseudonyms.hash(1) // 2).cast(pl.Int64)),
        fines.select(
            quarter_start="event_date",
            period_start="event_date",
            period_end="event_date",
            zone_id="zone_id",
            vehicle="vehicle",
        ),
    ]
    caught = sum(any(True for _ in suspects(each)) for each in broken)
    return Finding(
        "P3",
        "row-level or id-like columns in all published tables",
        limit=0,
        measured=sum(map(len, found.values())),
        control=Control("a pseudonym as text, as a number, rows of fines: found of 3", caught, 3),
        details={mart: sentences for mart, sentences in found.items() if sentences},
    )
