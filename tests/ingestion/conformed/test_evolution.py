"""A contract that gains a column: the table follows, old rows read null, and what cannot follow is refused."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import essai
import pandera.polars as pa
import polars as pl
import pytest

from infra import contract_versions, database
from infra.calendar import clock
from infra.settings import Settings
from ingestion import pipeline
from ingestion.contracts import silo_documents
from ingestion.delivery import landing
from ingestion.register import Silo

pytestmark = pytest.mark.live


class Gained(essai.ConformedRecord):
    """A column more, one that may be null: half of the value."""

    half: pl.Int64 = pa.Field(nullable=True)


class Required(essai.ConformedRecord):
    half: pl.Int64


class Lost(pa.DataFrameModel):
    record_key: pl.Binary
    record: str
    event_date: pl.Date


class Retyped(essai.ConformedRecord):
    value: str = pa.Field(nullable=True)


class Hardened(essai.ConformedRecord):
    value: pl.Int64


class Loosened(essai.ConformedRecord):
    record: str = pa.Field(nullable=True)


def with_contract(silo: Silo, model: type[pa.DataFrameModel], *columns: pl.Expr, version: str = "2.0.0") -> Silo:
    """The same silo after a release that changed the contract of its records."""
    records, counts = silo.datasets

    def conform(rows: pl.DataFrame, *rest: Any) -> pl.DataFrame:
        return essai._conform_records(rows, *rest).with_columns(columns)

    new = essai.changed(replace(records, version=version), conformed=model, conform=conform)
    return replace(silo, datasets=(new, counts))


def approve(lake: Settings, silo: Silo) -> None:
    """Have the contracts of a silo in force, as a steward's approval does."""
    with database.connect(lake, "publisher", "lake") as connection:
        for document in silo_documents.of_silo(silo):
            contract_versions.put_in_force(connection, document, clock.now(lake), "change_contract/run")


def ingest(lake: Settings, silo: Silo, name: str, *rows: tuple[int, int, int]) -> None:
    with essai.registered(silo):
        content = essai.csv(essai.RECORDS, [(f"r{r}", essai.day(d), v, f"P{r}") for r, d, v in rows])
        essai.deliver(lake, silo.name, name, content)
        landing.sweep(lake, silo.name)
        [receipt] = pipeline.ingest(lake, silo.name)
    assert receipt.status == "committed", receipt.reason


def test_a_table_gains_the_column_that_its_contract_gained(lake: Settings) -> None:
    before = essai.make(f"essai_{uuid.uuid4().hex[:12]}")
    ingest(lake, before, "old.csv", (1, 0, 4), (2, 0, 6), (3, 1, 8))
    after = with_contract(before, Gained, (pl.col("value") // 2).alias("half"), version="1.1.0")
    ingest(lake, after, "new.csv", (2, 0, 10), (4, 0, 12))  # replaces a row of an old file, whose others stay
    ingest(lake, after, "newer.csv", (1, 0, 2), (4, 0, 14))  # one row of an old file, one of a new
    rows = essai.table(lake, after.datasets[0]).select("record", "value", "half").sort("record").rows()
    assert rows == [("r1", 2, 1), ("r2", 10, 5), ("r3", 8, None), ("r4", 14, 7)]


def test_a_column_may_become_one_that_may_be_null(lake: Settings) -> None:
    before = essai.make(f"essai_{uuid.uuid4().hex[:12]}")
    ingest(lake, before, "old.csv", (1, 0, 4))
    after = with_contract(before, Loosened)
    approve(lake, after)
    ingest(lake, after, "new.csv", (2, 0, 4))
    assert essai.table(lake, after.datasets[0]).height == 2


def test_a_contract_that_changes_without_its_version_is_held_and_the_release_before_it_goes_on(lake: Settings) -> None:
    before = essai.make(f"essai_{uuid.uuid4().hex[:12]}")
    ingest(lake, before, "old.csv", (1, 0, 4))
    after = with_contract(before, Loosened, version="1.0.0")
    with pytest.raises(pipeline.IngestionError, match=r"record may be empty: that needs at least version 2\.0\.0"):
        ingest(lake, after, "new.csv", (2, 0, 4))
    with essai.registered(before):
        assert [receipt.status for receipt in pipeline.ingest(lake, before.name)] == ["committed"]
    assert essai.table(lake, before.datasets[0]).height == 2


HALF = (pl.col("value") // 2).alias("half")
TEXT = pl.col("value").cast(pl.String)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda silo: with_contract(silo, Required, HALF), "cannot have a new column 'half' that is never null"),
        (lambda silo: with_contract(silo, Lost), "has a column 'value' that its contract does not have"),
        (lambda silo: with_contract(silo, Retyped, TEXT), "is of type int64 and cannot become string"),
        (lambda silo: with_contract(silo, Hardened), "may be null and cannot become one that never is"),
    ],
    ids=["required", "lost", "retyped", "hardened"],
)
def test_what_rows_already_there_cannot_follow_is_refused(
    lake: Settings, change: Callable[[Silo], Silo], sentence: str
) -> None:
    """Nothing is ingested then, whoever approved it; no delivery is to blame, and the release before it goes on."""
    before = essai.make(f"essai_{uuid.uuid4().hex[:12]}")
    ingest(lake, before, "old.csv", (1, 0, 4))
    after = change(before)
    with essai.registered(after):
        content = essai.csv(essai.RECORDS, [("r2", essai.day(0), 4, "P2")])
        essai.deliver(lake, after.name, "new.csv", content)
        landing.sweep(lake, after.name)
        approve(lake, after)
        with pytest.raises(pipeline.IngestionError, match=sentence):
            pipeline.ingest(lake, after.name)
    approve(lake, before)
    with essai.registered(before):
        assert [receipt.status for receipt in pipeline.ingest(lake, before.name)] == ["committed"]
    assert essai.table(lake, before.datasets[0]).height == 2
