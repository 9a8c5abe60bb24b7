"""Occurrence numbers: telling identical records of one delivery apart, exactly, whatever the batches.

Where a format has no record number, the n-th of several identical records is known by its content and n. The delivery
is read once to find the repeated records (24 bytes of memory per record), before it is read to be conformed.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

_SEEDS = (0, 1)  # two 64-bit hashes: that two different records share both is out of the question


class Occurrences:
    """How often each record of a delivery had been seen before it."""

    def __init__(self, frames: Iterable[pl.DataFrame], columns: tuple[str, ...]) -> None:
        """Read all ``frames``, which have ``row`` and ``columns``, in order of ``row``."""
        hashes = [
            frame.select("row", *(frame.select(columns).hash_rows(seed).alias(f"hash_{seed}") for seed in _SEEDS))
            for frame in frames
        ]
        content = [f"hash_{seed}" for seed in _SEEDS]
        if not hashes:
            self._repeated = pl.DataFrame(schema={"row": pl.Int64, "occurrence": pl.Int64})
            return
        self._repeated = (
            pl.concat(hashes)
            .lazy()
            .filter(pl.struct(content).is_duplicated())
            .select(pl.col("row").cast(pl.Int64), occurrence=pl.col("row").cum_count().over(content).cast(pl.Int64))
            .filter(pl.col("occurrence") > 1)
            .collect()
        )

    def number(self, frame: pl.DataFrame) -> pl.DataFrame:
        """``frame`` with a column ``occurrence``: 1 for the first record with its content, 2 for the next..."""
        if self._repeated.is_empty() or frame.is_empty():
            return frame.with_columns(occurrence=pl.lit(1, pl.Int64))
        nearby = self._repeated.filter(pl.col("row").is_between(frame["row"].min(), frame["row"].max()))
        return frame.join(
            nearby.cast({"row": frame.schema["row"]}), on="row", how="left", maintain_order="left"
        ).with_columns(pl.col("occurrence").fill_null(1))
