"""What was rejected of one delivery, and the books of the delivery: rows in = accepted + quarantined, always."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from infra.registry import Tally
from ingestion.contracts.checking import REJECTS

BUFFER_ROWS = 1_000_000

_ERROR = pl.col("severity") == "error"


class Rejections:
    """Rejects of one delivery, kept in memory up to :data:`BUFFER_ROWS` and on disk beyond."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is an empty folder for what memory does not hold."""
        self._folder = folder
        self._files: list[Path] = []
        self._buffer: list[pl.DataFrame] = []

    def add(self, rejects: pl.DataFrame) -> None:
        """Take more :data:`ingestion.contracts.checking.REJECTS`."""
        if rejects.is_empty():
            return
        self._buffer.append(rejects)
        if sum(frame.height for frame in self._buffer) >= BUFFER_ROWS:
            target = self._folder / f"{len(self._files)}.parquet"
            pl.concat(self._buffer).write_parquet(target)
            self._buffer.clear()
            self._files.append(target)

    def all(self) -> pl.LazyFrame:
        """Every reject, once, in order of row."""
        frames = [pl.scan_parquet(path) for path in self._files] + [frame.lazy() for frame in self._buffer]
        everything = pl.concat(frames) if frames else pl.LazyFrame(schema=REJECTS)
        return everything.unique().sort("row", "rule", "column", "severity")

    def tally(self, accepted: int) -> Tally:
        """The books of the delivery, given how many of its rows were accepted.

        A row with an error is quarantined, whatever warnings it also has. It counts once, under the first of its rules
        in alphabetical order, so that the rules add up to the rows. An accepted row counts under each of its warnings.
        """
        everything = self.all()
        errors = everything.filter(_ERROR)
        warnings = everything.filter(~_ERROR).join(errors.select("row").unique(), on="row", how="anti")
        quarantined = errors.select(pl.col("row").n_unique()).collect().item()
        return Tally(
            rows_in=accepted + quarantined,
            accepted=accepted,
            quarantined=quarantined,
            by_rule=_counts(errors.group_by("row").agg(pl.col("rule").min())),
            warnings=_counts(warnings),
        )


def _counts(rejects: pl.LazyFrame) -> dict[str, int]:
    counted = rejects.group_by("rule").agg(pl.col("row").n_unique()).sort("rule").collect()
    return dict(counted.iter_rows())
