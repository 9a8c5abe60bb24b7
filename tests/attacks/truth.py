"""The exact counts behind published cells: used to score attacks, never by an attack.

It is worked out from conformed rows by what the documentation says is counted, not by the project's SQL.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from pyiceberg.exceptions import NoSuchTableError

from infra import catalog
from infra.settings import Settings
from ingestion.register import silos
from privacy.plan import plan
from tests.attacks.published import Table

SEEDS = Path(__file__).parents[2] / "dbt_project" / "seeds"
DATASETS = tuple(dataset.name for silo in silos().values() for dataset in silo.datasets if not dataset.reference)
TIMES = {"verbalisations": "occurred_at", "tows": "removed_at"}
WITHOUT_STAY = ("deplacement_technique", "restitution_sur_place")


def conformed(settings: Settings) -> dict[str, pl.DataFrame]:
    """The conformed rows of a lake, as the publisher reads them."""
    tables = catalog.open_catalog(settings, "publisher")
    rows = {}
    for name in DATASETS:
        try:
            rows[name] = pl.DataFrame(tables.load_table(f"conformed.{name}").scan().to_arrow())
        except NoSuchTableError:
            continue
    return rows


@dataclass(frozen=True)
class Truth:
    """Conformed rows by dataset, and the city's zones."""

    rows: Mapping[str, pl.DataFrame]
    zones: pl.DataFrame

    def counted(self, silo: str) -> pl.DataFrame:
        """The events of fines or tows that count, the first of a vehicle and month, with every dimension there is."""
        rows = self.rows[silo].with_columns(month=pl.col("event_date").dt.month_start())
        first = (
            rows.with_columns(unit=pl.coalesce("vehicle", "record_key"))
            .sort("event_date", TIMES[silo], "record_key", nulls_last=True)
            .unique(["unit", "month"], keep="first", maintain_order=True)
        )
        return self.described(first)

    def described(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows with every dimension that marts have, under the names that marts give them."""
        described = (
            rows.join(self.zones.rename({"published_zone_id": "published"}), on="zone_id", how="left")
            .with_columns(
                zone_id=pl.col("published").fill_null("unknown"),
                area_id=pl.col("area_id").fill_null("unknown"),
                day=pl.col("event_date"),
                month=pl.col("event_date").dt.month_start(),
                quarter=pl.col("event_date").dt.truncate("1q"),
                iso_weekday=pl.col("event_date").dt.weekday().cast(pl.Int64),
                hour=pl.col("local_hour").cast(pl.Int64),
            )
            .join(seed("hours"), on="hour", how="left")
            .join(seed("weekdays"), on="iso_weekday", how="left")
            .with_columns(pl.col("time_band").fill_null("unknown"))
        )
        if "nature" in rows.columns:
            described = described.join(seed("natures"), on="nature", how="left")
        if "reason" in rows.columns:
            described = described.join(seed("tow_reasons"), on="reason", how="left").with_columns(delay_band=_delay())
            described = described.join(seed("delay_bands"), on="delay_band", how="left")
        return described

    def exact(self, mart: str, table: Table) -> pl.DataFrame:
        """The published rows of a mart of fines or tows, with ``exact``: how many events that count are behind each."""
        counted = self.counted(plan().marts[mart].silo)
        counts = (
            counted.with_columns(period_start=pl.col(period_of(mart)))
            .group_by(table.key)
            .agg(exact=pl.len().cast(pl.Int64))
        )
        types = {name: table.frame.schema[name] for name in table.key}
        return table.frame.join(counts.cast(types), on=table.key, how="left").with_columns(pl.col("exact").fill_null(0))


def seed(name: str) -> pl.DataFrame:
    """A public vocabulary, without its names in words."""
    frame = pl.read_csv(SEEDS / f"{name}.csv")
    return frame.select(column for column in frame.columns if not column.startswith("name_"))


def period_of(mart: str) -> str:
    """How long the periods of a mart are, day, month or quarter, as its documentation says."""
    return "day" if mart.endswith("_by_day") else plan().marts[mart].release


def _delay() -> pl.Expr:
    hours = (pl.col("released_at") - pl.col("removed_at")).dt.total_seconds() / 3600
    bands = pl.when(pl.col("outcome").is_in(WITHOUT_STAY)).then(pl.lit("not_impounded"))
    for limit, name in ((24, "under_1_day"), (72, "1_to_3_days"), (168, "3_to_7_days"), (720, "7_to_30_days")):
        bands = bands.when(hours < limit).then(pl.lit(name))
    return (
        bands.when(hours >= 720)
        .then(pl.lit("over_30_days"))
        .when(pl.col("outcome") == "en_cours")
        .then(pl.lit("in_pound"))
        .otherwise(pl.lit("unknown"))
    )
