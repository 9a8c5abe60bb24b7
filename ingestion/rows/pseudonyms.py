"""Pseudonyms: HMAC-SHA256 of an identifier under the key of its silo and month, truncated to 128 bits.

The same value has the same pseudonym within one silo and month, and unrelated ones in another month, another silo or
as another kind of identifier. No value and no key is ever logged or shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from functools import cached_property

import polars as pl
import polars_hash as plh

from infra.keys.store import KeyDestroyedError, Keys

PSEUDONYM_BYTES = 16
MOVED = "moved"
"""The column of conformed lines that says whether their record is in another month of the lake."""


class Pseudonymiser:
    """Pseudonyms of one silo, for one delivery. Threads may share it."""

    def __init__(self, silo: str, keys: Keys, known: Callable[[], Mapping[date, pl.Series]] = dict) -> None:
        """``known``: the record keys that the lake holds, by month; asked once, when records are met."""
        self._silo = silo
        self._keys = keys
        self._known = known
        self._of_months: dict[date, str | None] = {}

    def __repr__(self) -> str:
        return f"Pseudonymiser({self._silo!r})"

    @cached_property
    def erased(self) -> pl.Series:
        """Pseudonyms of vehicles that were erased, under any living key: a row that bears one is not to be kept."""
        months = self._keys.erased(self._silo).values()
        return pl.Series([pseudonym for erased in months for pseudonym in erased], dtype=pl.Binary)

    @property
    def destroyed_months(self) -> frozenset[str]:
        """Months (``YYYY-MM``) met so far whose key was destroyed: their pseudonyms came out null."""
        return frozenset(f"{month:%Y-%m}" for month, key in self._of_months.copy().items() if key is None)

    def pseudonyms(self, kind: str, values: pl.Series, days: pl.Series) -> pl.Series:
        """The pseudonym of each value: 16 bytes, or null where the value or its day is null.

        Args:
            kind: what the values identify (``vehicle``, ``record``); different kinds never share pseudonyms.
            values: strings, already normalised, one per row.
            days: dates of the same length; the month of each chooses the key.

        Returns:
            Binary series of the same length. Null also where the month's key was destroyed, see
            :attr:`destroyed_months`.
        """
        frame = pl.DataFrame({"value": values.cast(pl.String), "day": days}).select(
            "value", month=pl.col("day").dt.month_start()
        )
        months = frame["month"].unique()
        if len(months) == 1:
            return frame.select(self._pseudonym(kind, months[0])).to_series().alias(values.name)
        parts = [
            part.select("position", self._pseudonym(kind, month))
            for (month,), part in frame.with_row_index("position").partition_by("month", as_dict=True).items()
        ]
        if not parts:
            return pl.Series(values.name, [], pl.Binary)
        return pl.concat(parts).sort("position")["pseudonym"].alias(values.name)

    def records(self, values: pl.Series, days: pl.Series) -> pl.DataFrame:
        """``record_key``, the pseudonym of each record, and ``moved``: whether the lake has it in another month."""
        months, moved = days.dt.month_start(), pl.repeat(False, len(values), eager=True)
        for month, known in self._records_known.items():
            elsewhere = months != month
            if elsewhere.any():
                there = self.pseudonyms("record", values, pl.repeat(month, len(values), eager=True))
                moved |= elsewhere & there.is_in(known.implode())
        own = self.pseudonyms("record", values, days)
        return pl.DataFrame({"record_key": own, MOVED: moved.fill_null(value=False)})

    @cached_property
    def _records_known(self) -> Mapping[date, pl.Series]:
        return self._known()

    def _pseudonym(self, kind: str, month: date | None) -> pl.Expr:
        """The pseudonym of column ``value``, all of one month."""
        key = None if month is None else self._key(month)
        if key is None:
            return pl.repeat(None, pl.len(), dtype=pl.Binary).alias("pseudonym")
        message = plh.concat_str(pl.lit(f"{kind}\0"), "value")
        digest = message.chash.hmac_sha256(key=key)
        return digest.str.head(2 * PSEUDONYM_BYTES).str.decode("hex").alias("pseudonym")

    def _key(self, month: date) -> str | None:
        """The month's key, in hexadecimal since the library takes text: 64 characters, a whole block of the hash."""
        if month not in self._of_months:
            try:
                self._of_months[month] = self._keys.get_or_create(self._silo, f"{month:%Y-%m}").hex()
            except KeyDestroyedError:
                self._of_months[month] = None
        return self._of_months[month]
