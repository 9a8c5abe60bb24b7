"""From batches of source columns to data files of the conformed table, and the books of the delivery.

The judgement of the delivery's own evidence, Delivered contract, then ``Dataset.conform``, then Conformed contract,
batch by batch; duplicate keys of the delivery last. A delivered row is accepted when at least one conformed line of it
is kept; otherwise it is quarantined, with every rule it broke.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import polars as pl
import pyarrow as pa

from infra.city.profile import City
from infra.registry import Tally
from ingestion.conformed.vehicles import VEHICLE
from ingestion.contracts.checking import check, no_rejects, reject
from ingestion.formats import evidence
from ingestion.formats.evidence import Evidence, called_what_they_are
from ingestion.formats.format import Format
from ingestion.formats.reading import Batch
from ingestion.register import Dataset
from ingestion.rows.occurrences import Occurrences
from ingestion.rows.pseudonyms import MOVED, Pseudonymiser
from ingestion.rows.rejections import Rejections
from ingestion.rows.staging import DataFile, Stage

_In = TypeVar("_In")
_Out = TypeVar("_Out")

_AT_ONCE = 2

DUPLICATE_KEY = "duplicate_key"
ERASED = "erased"
KEY_DESTROYED = "month_key_destroyed"
NOT_CONFORMED = "not_conformed"
OTHER_MONTH = "record_in_other_month"

RULES = {
    DUPLICATE_KEY: (
        "An earlier row of the same delivery has the same key; that one was kept. Deliver each record once, or correct "
        "its number."
    ),
    ERASED: (
        "The row is about a vehicle that was erased (`calanque erase`), which holds for its month wherever rows come "
        "from. It was not taken; nothing has to be done."
    ),
    KEY_DESTROYED: (
        "The row is of a month whose pseudonymisation key was destroyed at the end of its retention. It came too late "
        "to be taken; nothing can be done."
    ),
    NOT_CONFORMED: (
        "The row gave no conformed row and no reason. The fault is in Calanque, not in the delivery: report it with "
        "the receipt."
    ),
    OTHER_MONTH: (
        "The lake has a record with this number in another month, which a new date does not replace: both are kept and "
        "counted. If the date was corrected, deliver the file as a correction of the one that has the old date "
        "(`calanque drop FILE --corrects DELIVERY`)."
    ),
    **evidence.RULES,
}
"""The rules of the engine itself, which hold for every silo: what each means and what to do about it."""


class BooksError(RuntimeError):
    """Rows in are not accepted plus quarantined: a mistake in our code; nothing of the delivery may be committed."""


@dataclass(frozen=True)
class Conformed:
    """What one delivery becomes: data files ready to be committed, rejects, and the books."""

    dataset: Dataset
    files: tuple[DataFile, ...]
    rejects: pl.LazyFrame
    tally: Tally

    @property
    def lines(self) -> int:
        """Conformed rows, which may be more than the delivered rows they come from."""
        return sum(file.rows for file in self.files)


def conform(
    read: Callable[[], Iterator[Batch]],
    *,
    dataset: Dataset,
    accepted: Format,
    city: City,
    pseudonymiser: Pseudonymiser,
    schema: pa.Schema,
    delivery_id: str,
    scratch: Path,
) -> Conformed:
    """Check and conform one delivery in bounded memory.

    Args:
        read: reads the delivery's batches from the start; called again when records are told apart by occurrence, and
            when values can be read in two ways.
        dataset: the dataset of ``accepted``.
        accepted: the delivery's format.
        city: places and clock.
        pseudonymiser: of the silo, for this delivery only.
        schema: of the data files, with Iceberg field ids.
        delivery_id: recorded in every row.
        scratch: an empty folder that outlives the result.
    """
    folders = [scratch / name for name in ("staged", "rejected")]
    for folder in folders:
        folder.mkdir()
    stage = Stage(dataset, folders[0], schema, format=accepted.name, delivery_id=delivery_id)
    rejections = Rejections(folders[1])
    occurrences = None
    if accepted.occurrence_columns:
        occurrences = Occurrences((batch.frame for batch in read()), accepted.occurrence_columns)

    senders_names = {name: ", ".join(columns) for name, columns in accepted.told_in.items()}
    told = Evidence(lambda: (batch.frame for batch in read()), accepted.kinds)

    def conform_batch(batch: Batch) -> tuple[Batch, _Frame]:
        frame, doubted = told.judge(batch.frame)
        if occurrences is not None:
            frame = occurrences.number(frame)
        conformed = _conform_frame(frame, dataset, accepted, city, pseudonymiser)
        named = conformed.rejects.with_columns(pl.col("column").replace(senders_names))
        rejects = called_what_they_are(batch.frame, pl.concat([doubted, named]))
        return batch, conformed._replace(rejects=rejects)

    rows_in = kept_rows = 0
    with ThreadPoolExecutor(1) as stager:  # what goes to disk goes while the next batches are conformed
        staged = stager.submit(lambda: None)
        for batch, conformed in _ahead(conform_batch, read()):
            rejections.add(batch.rejects)
            rejections.add(conformed.rejects)
            rows_in += batch.rows
            kept_rows += conformed.rows
            staged.result()
            staged = stager.submit(stage.add, conformed.kept)
        staged.result()

    duplicates = stage.drop_duplicates()
    rejections.add(reject(duplicates.rows, DUPLICATE_KEY))
    rejections.add(reject(duplicates.partly, DUPLICATE_KEY, severity="warning"))

    tally = rejections.tally(accepted=kept_rows - len(duplicates.rows))
    if tally.rows_in != rows_in:
        raise BooksError(
            f"of {rows_in} rows, {tally.accepted} were accepted and {tally.quarantined} quarantined: not the same"
        )
    return Conformed(dataset, tuple(stage.data_files()), rejections.all(), tally)


def _ahead(function: Callable[[_In], _Out], items: Iterator[_In]) -> Iterator[_Out]:
    """``map(function, items)``, in order, :data:`_AT_ONCE` calls under way: one hashes while another parses.

    One more item waits for its turn, so that no call waits for an item to be read.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        under_way: deque[Future[_Out]] = deque()
        try:
            for item in items:
                under_way.append(pool.submit(copy_context().run, function, item))  # rules go by the same clock there
                if len(under_way) > _AT_ONCE:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


class _Frame(NamedTuple):
    """The conformed lines of a batch, with ``row``; of how many rows they are; the rejects of other rows and lines."""

    kept: pl.DataFrame
    rows: int
    rejects: pl.DataFrame


def _conform_frame(
    frame: pl.DataFrame, dataset: Dataset, accepted: Format, city: City, pseudonymiser: Pseudonymiser
) -> _Frame:
    if frame.is_empty():
        return _Frame(pl.DataFrame(schema={"row": pl.Int64}), 0, no_rejects())
    delivered = check(dataset.delivered, accepted.to_delivered(frame))
    good = _without(delivered.good, _errors(delivered.rejects))
    if good.is_empty():
        return _Frame(pl.DataFrame(schema={"row": pl.Int64}), 0, delivered.rejects)

    lines = dataset.contract().conform(good, accepted, city, pseudonymiser)
    if pseudonymiser.destroyed_months:
        too_late = pl.col("event_date").dt.strftime("%Y-%m").is_in(list(pseudonymiser.destroyed_months))
        lines = lines.with_columns(reject=pl.when(too_late).then(pl.lit(KEY_DESTROYED)).otherwise("reject"))
    if VEHICLE in lines.columns and len(pseudonymiser.erased):
        erased = pl.col(VEHICLE).is_in(pseudonymiser.erased.implode())
        lines = lines.with_columns(reject=pl.when(erased).then(pl.lit(ERASED)).otherwise("reject"))
    taken = lines.filter(pl.col("reject").is_null())
    conformed = check(dataset.conformed, taken.drop("reject", "warn", MOVED, strict=False))
    rejects = pl.concat(
        [
            delivered.rejects,
            *_named(lines, "reject", "error"),
            *_named(taken, "warn", "warning"),
            *_moved(taken),
            conformed.rejects,
        ]
    )
    kept = conformed.good
    rows = kept["row"].n_unique()
    if rows == frame.height and rejects.is_empty():
        return _Frame(kept, rows, rejects)

    # A row that lost some of its lines is accepted all the same: what happened to the others is a warning.
    partly = (pl.col("severity") == "error") & pl.col("row").is_in(kept["row"].implode())
    rejects = rejects.with_columns(severity=pl.when(partly).then(pl.lit("warning")).otherwise("severity"))
    silent = frame["row"].cast(pl.Int64)
    silent = silent.filter(~silent.is_in(kept["row"].implode()) & ~silent.is_in(_errors(rejects).implode()))
    return _Frame(kept, rows, pl.concat([rejects, reject(silent, NOT_CONFORMED)]) if silent.len() else rejects)


def _moved(lines: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Warnings for the lines whose record the lake has in another month."""
    if MOVED in lines.columns and lines[MOVED].any():
        yield reject(lines.filter(MOVED)["row"], OTHER_MONTH, severity="warning")


def _errors(rejects: pl.DataFrame) -> pl.Series:
    return rejects.filter(pl.col("severity") == "error")["row"]


def _without(lines: pl.DataFrame, rows: pl.Series) -> pl.DataFrame:
    # One record may have become several delivered lines: a rule that one of them breaks rejects the record.
    return lines if rows.is_empty() else lines.filter(~pl.col("row").is_in(rows.implode()))


def _named(lines: pl.DataFrame, column: str, severity: str) -> Iterator[pl.DataFrame]:
    """Rejects for the lines whose ``column`` names a rule."""
    if lines[column].null_count() == lines.height:
        return
    named = lines.filter(pl.col(column).is_not_null())
    yield named.select("row", rule=column, column=pl.lit(None, pl.String), severity=pl.lit(severity)).unique(
        maintain_order=True
    )
