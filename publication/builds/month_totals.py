"""The months that a quarter is fitted to: which published editions, and what they say.

Only published figures are read, as anybody could: an area's total of a month is known where one of its tables hides
nothing of it. A quarter then adds up to its months wherever that can be seen, whatever comes late for them, and
whichever is corrected later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from datetime import date, timedelta

import polars as pl
from minio import Minio

from infra.build_spec import CityReference, Edition, MonthTotal, Unit
from infra.calendar import clock
from privacy.spending import Book
from publication.builds.candidates import Mart
from publication.contracts import CONTRACTS
from publication.releases import files

CITY = "city"
"""The parent of what tables of the whole city count."""


def months(unit: Unit) -> Iterator[date]:
    """The first day of each month of a unit."""
    month = clock.month_start(unit.first_day)
    while month <= unit.last_day:
        yield month
        month = clock.add_months(month, 1)


def waits(mart: Mart, unit: Unit, book: Book, due: Collection[tuple[str, date]], covered: Collection[date]) -> bool:
    """Whether some month that a unit is fitted to is neither published nor due, though all its days are ``covered``."""
    return any(
        book.unit(name, month) is None and (name, month) not in due
        for name in mart.fitted_to
        for month in months(unit)
        if all(day in covered for day in clock.days(month, clock.add_months(month, 1) - timedelta(days=1)))
    )


def published(mart: Mart, unit: Unit, book: Book) -> tuple[Edition, ...]:
    """The newest published editions of the months that a unit is fitted to, but for those withdrawn."""
    found = []
    for month in months(unit):
        for name in mart.fitted_to:
            history = book.unit(name, month)
            if history and history.newest and not history.withdrawn:
                newest = history.newest
                found.append(Edition(mart=name, first_day=month, edition=newest.edition, sha256=newest.sha256))
    return tuple(found)


def read(store: Minio, city: CityReference, marts: Mapping[str, Mart], named: Collection[Edition]) -> list[MonthTotal]:
    """What these editions say, a line for each parent of each month.

    Raises:
        publication.releases.files.FileChangedError: a file is not the one that was published.
    """
    area_of = {zone.zone_id: zone.area_id for zone in city.zones}
    said = [
        _totals(pl.DataFrame(files.read(store, each)), CONTRACTS[each.mart].measure.column, area_of).with_columns(
            silo=pl.lit(marts[each.mart].silo), month_start=pl.lit(each.first_day)
        )
        for each in sorted(set(named), key=lambda each: (each.mart, each.first_day, each.edition))
    ]
    if not said:
        return []
    # Tables of a month agree: whichever shows a total, it is the same.
    agreed = pl.concat(said).group_by("silo", "month_start", "parent").agg(pl.col("total").max())
    return [MonthTotal.model_validate(row) for row in agreed.sort("silo", "month_start", "parent").to_dicts()]


def _totals(rows: pl.DataFrame, measure: str, area_of: Mapping[str, str]) -> pl.DataFrame:
    """``parent`` and ``total`` of one table: null where it hides something."""
    parent = pl.lit(CITY)
    if "area_id" in rows.columns:
        parent = pl.col("area_id")
    elif "zone_id" in rows.columns:
        parent = pl.col("zone_id").replace_strict(area_of, default=None)
    hidden = pl.col(measure).is_null().any()
    return rows.group_by(parent=parent).agg(total=pl.when(hidden.not_()).then(pl.col(measure).sum()))
