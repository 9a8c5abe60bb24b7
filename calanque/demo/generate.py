"""A drop folder full of deliveries of the demo city, good and bad, and the truth about them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from calanque.demo.truth import Expectation, ExpectedDelivery, Fault, Truth
from infra.calendar.clock import clock_changes
from infra.calendar.days import DayRange
from infra.city.profile import City
from ingestion.delivery import naming, notes
from ingestion.formats.reading import MALFORMED
from ingestion.register import silos
from ingestion.synthetic import faults as wrong
from ingestion.synthetic.demo import Sender
from ingestion.synthetic.draws import generator
from ingestion.synthetic.table import Table

DUPLICATE_KEY = "duplicate_key"
ENCODING_UNEXPECTED = "encoding_unexpected"
_LATE_BY = 3  # deliveries


def senders(city: City, *, seed: int, since: date, scale: float = 1.0) -> list[Sender]:
    """The senders of every silo of the demo city, in the order of the register."""
    return [silo.demo().sender(city, seed, scale, since) for silo in silos().values()]


def generate(
    city: City,
    *,
    seed: int,
    start: date,
    days: int,
    scale: float = 1.0,
    drop_dir: Path,
    faults: bool = True,
    days_per_delivery: int = 1,
    history: Sequence[DayRange] = (),
    report: Callable[[str], None] = lambda _: None,
) -> Truth:
    """Write ``days`` days of deliveries of every silo into ``drop_dir/<silo>/``; return the truth about them.

    What was before ``start`` may come as ``history``: earlier days without a gap, each of these ranges in one file.
    Every file declares its silo complete for its days: by a name that ends in the day or the month, or by a note.

    The same arguments give the same bytes. File names begin with the last day they are about: their alphabetical order
    is the order of delivery, in which they are written. ``scale`` 1 is the real volume; from there on, counters
    and cells do not become more. Each file appears whole, under its final name. ``report`` is told how far it is.
    """
    if days < 1 or days_per_delivery < 1:
        raise ValueError(f"days and days_per_delivery are at least 1, not {days} and {days_per_delivery}")
    spans = [*history, *_spans(start, days, days_per_delivery)]
    first, last = spans[0].first_day, spans[-1].last_day
    sending = senders(city, seed=seed, since=first, scale=scale)
    expected: list[ExpectedDelivery] = []
    injected: list[Fault] = []
    for number, sender in enumerate(sending):
        report(f"{sender.silo} ({number + 1} of {len(sending)})")
        season = _Season(sender, city, spans)
        if faults:
            other = sending[(number + 1) % len(sending)]
            _Saboteur(season, city, other, generator(seed, "faults", sender.silo)).work()
        files = season.files()
        _write(files, drop_dir / sender.silo)
        expected += _expectations(sender.silo, files)
        injected += season.faults
    return Truth(
        city=city.name,
        seed=seed,
        start=first,
        days=(last - first).days + 1,
        scale=scale,
        deliveries=tuple(expected),
        faults=tuple(fault.model_copy(update={"id": f"F{n:03d}"}) for n, fault in enumerate(injected, start=1)),
    )


def _spans(start: date, days: int, days_per_delivery: int) -> Iterator[DayRange]:
    """The days from ``start`` on, a delivery's together."""
    last_day = start + timedelta(days=days - 1)
    while start <= last_day:
        following = start + timedelta(days=days_per_delivery)
        yield DayRange(first_day=start, last_day=min(following - timedelta(days=1), last_day))
        start = following


@dataclass(frozen=True)
class _File:
    """A file to be delivered. ``accepted`` has the ``key`` and ``event_date`` of the rows that can be loaded.

    ``covers`` is what its note says, where its name does not.
    """

    name: str
    content: bytes
    rows: int
    accepted: pl.DataFrame
    quarantined: tuple[int, ...] = ()
    refused: str | None = None
    covers: DayRange | None = None


@dataclass
class _Period:
    """One regular delivery in the making.

    ``taken`` are the positions (from 0) of rows that some fault is about, ``rejected`` those that must not be loaded.
    """

    days: DayRange
    table: Table
    taken: set[int] = field(default_factory=set)
    rejected: set[int] = field(default_factory=set)
    encoding: str = "utf-8"
    before: list[_File] = field(default_factory=list)
    after: list[_File] = field(default_factory=list)

    @property
    def last_day(self) -> date:
        return self.days.last_day

    def name(self, what: str) -> str:
        """A file name; those of a day sort by ``what``."""
        return f"{self.last_day}_{what}.csv"

    @property
    def named(self) -> str | None:
        """How the name of its regular file ends, when it is about a day or a month."""
        if len(self.days) == 1:
            return str(self.last_day)
        month = f"{self.last_day:%Y-%m}"
        return month if naming.period(month) == self.days else None


_BEFORE, _REGULAR, _AFTER = "1", "2", "3"  # in the names of a day's files, for their order


class _Season:
    """All the deliveries of one silo."""

    def __init__(self, sender: Sender, city: City, spans: Sequence[DayRange]) -> None:
        self.sender = sender
        self.faults: list[Fault] = []
        self.periods: list[_Period] = []
        time_zone = city.time_zone
        for span in spans:
            tables = [sender.day(day) for day in span.days]
            # A record that changed within the period is delivered once, as it is in the end.
            rows = pl.concat(table.rows for table in tables).unique("key", keep="last", maintain_order=True)
            self.periods.append(_Period(span, replace(tables[0], rows=rows)))
        self.clock_changes = clock_changes(time_zone, spans[0].first_day, spans[-1].last_day)

    @property
    def silo(self) -> str:
        return self.sender.silo

    def regular_name(self, period: _Period) -> str:
        return period.name("_".join(filter(None, (_REGULAR, self.sender.format, period.named))))

    def regular(self, period: _Period) -> _File:
        rows = period.table.rows.select("key", "event_date")
        return _File(
            name=self.regular_name(period),
            content=period.table.text().encode(period.encoding),
            rows=rows.height,
            accepted=_without(rows, period.rejected),
            quarantined=tuple(sorted(position + 1 for position in period.rejected)),
            covers=None if period.named else period.days,
        )

    def files(self) -> list[_File]:
        """Every file, in the order of delivery."""
        files = [file for period in self.periods for file in (*period.before, self.regular(period), *period.after)]
        return sorted(files, key=lambda file: file.name)

    def note(
        self, kind: str, file: str, expect: Expectation, rule: str | None = None, rows: Iterable[int] = ()
    ) -> None:
        self.faults.append(
            Fault(id="", kind=kind, silo=self.silo, file=file, expect=expect, rule=rule, rows=tuple(sorted(rows)))
        )


class _Saboteur:
    """Injects one fault of every kind into the deliveries of a silo."""

    def __init__(self, season: _Season, city: City, other: Sender, random: np.random.Generator) -> None:
        self._season = season
        self._city = city
        self._other = other
        self._random = random
        self._demo = silos()[season.silo].demo()
        everything = pl.concat(period.table.rows["key"] for period in season.periods)
        self._once = everything.filter(~everything.is_duplicated())  # records that are delivered once only

    def work(self) -> None:
        # What moves or adds rows comes first: from then on, row numbers stand.
        self._late()
        self._duplicated()
        for fault in self._demo.breaks:
            self._rows(fault)
        self._encoding()
        self._clock_change()
        self._corrected()
        self._truncated()
        self._refused()
        self._resent()

    def _period(self) -> int:
        return int(self._random.integers(len(self._season.periods)))

    def _pick(self, *, only_once: bool = False, leave: int = 0) -> tuple[int, list[int]]:
        """A period and the positions of a few sound rows of it; no rows when no period has any left.

        ``only_once`` asks for records that are delivered once only; ``leave`` leaves the last periods alone.
        """
        periods = self._season.periods
        for number in self._random.permutation(len(periods) - leave):
            rows = _without(periods[number].table.rows.with_row_index("position"), periods[number].taken)
            if only_once:
                rows = rows.filter(pl.col("key").is_in(self._once.implode()))
            if rows.height:
                count = min(wrong.ROWS_PER_FAULT, (rows.height + 7) // 8)  # most of a small delivery stays sound
                chosen = rows["position"].gather(self._random.permutation(rows.height)[:count])
                return int(number), sorted(chosen.to_list())
        return 0, []

    def _late(self) -> None:
        periods = self._season.periods
        at, moved = self._pick(only_once=True, leave=1)
        if not moved:
            return
        source, target = periods[at], periods[min(at + _LATE_BY, len(periods) - 1)]
        rows = source.table.rows
        late = rows[moved]
        source.table = replace(source.table, rows=_without(rows, moved))
        positions = range(target.table.rows.height, target.table.rows.height + late.height)
        target.table = replace(target.table, rows=pl.concat([target.table.rows, late]))
        target.taken.update(positions)
        self._season.note("late_rows", self._season.regular_name(target), "own_period", rows=_numbers(positions))

    def _duplicated(self) -> None:
        at, twice = self._pick()
        if not twice:
            return
        period = self._season.periods[at]
        rows = period.table.rows
        period.table = replace(period.table, rows=pl.concat([rows, rows[twice]]))
        again = range(rows.height, rows.height + len(twice))
        period.taken.update(twice, again)
        period.rejected.update(again)
        name = self._season.regular_name(period)
        self._season.note("duplicated_rows", name, "quarantined", DUPLICATE_KEY, _numbers(again))

    def _rows(self, fault: wrong.Break) -> None:
        if fault.kind is None:
            return
        at, positions = self._pick()
        period = self._season.periods[at]
        cells = fault.cells(wrong.scene(self._city, period.last_day))
        if not cells or not positions:
            return
        delimiter = period.table.delimiter
        values = {column: [value.format(delimiter=delimiter)] * len(positions) for column, value in cells.items()}
        period.table = period.table.with_cells(positions, values)
        period.taken.update(positions)
        expect: Expectation = "warned"
        if not fault.warns:
            period.rejected.update(positions)
            expect = "quarantined"
        name = self._season.regular_name(period)
        self._season.note(fault.kind, name, expect, fault.rule, _numbers(positions))

    def _encoding(self) -> None:
        accented = [period for period in self._season.periods if not period.table.text().isascii()]
        if accented:
            period = accented[int(self._random.integers(len(accented)))]
            period.encoding = "cp1252"
            self._season.note("wrong_encoding", self._season.regular_name(period), "noted", ENCODING_UNEXPECTED)

    def _clock_change(self) -> None:
        """A day of 23 or 25 hours is no fault of the sender's: all of its rows must be loaded under it."""
        for day in self._season.clock_changes:
            for period in self._season.periods:
                rows = _without(period.table.rows.with_row_index("position"), period.rejected)
                positions = rows.filter(pl.col("event_date") == day)["position"].to_list()
                if positions:
                    name = self._season.regular_name(period)
                    self._season.note("day_of_clock_change", name, "own_period", rows=_numbers(positions))

    def _corrected(self) -> None:
        periods = self._season.periods
        at, wrong_rows = self._pick(only_once=True)
        if not wrong_rows:
            return
        later = periods[min(at + 2, len(periods) - 1)]
        table = replace(periods[at].table, rows=periods[at].table.rows[wrong_rows])
        cells = self._demo.correction
        table = table.with_cells(
            range(len(wrong_rows)), {column: [value] * len(wrong_rows) for column, value in cells.items()}
        )
        periods[at].taken.update(wrong_rows)
        name = later.name(f"{_AFTER}_{self._season.sender.format}_correction")
        later.after.append(_whole(name, table))
        self._season.note("corrected_delivery", name, "replaced", rows=range(1, len(wrong_rows) + 1))

    def _truncated(self) -> None:
        period = self._season.periods[self._period()]
        if period.table.rows.is_empty():
            return
        content, rows = wrong.truncated(period.table)
        name = period.name(f"{_BEFORE}_{self._season.sender.format}_interrompu")
        bad = {position for position in period.rejected if position < rows - 1} | {rows - 1}
        period.before.append(
            _File(
                name=name,
                content=content,
                rows=rows,
                accepted=_without(period.table.rows.select("key", "event_date").head(rows), bad),
                quarantined=tuple(sorted(_numbers(bad))),
            )
        )
        self._season.note("truncated_file", name, "quarantined", MALFORMED, [rows])

    def _refused(self) -> None:
        for fault in self._demo.file_faults:
            period = self._season.periods[self._period()]
            content = fault.make(period.table, self._other.day(period.last_day), self._random)
            name = period.name(f"{_AFTER}_{self._season.sender.format}_{fault.kind}")
            nothing = period.table.rows.select("key", "event_date").head(0)
            period.after.append(_File(name, content, 0, nothing, refused=fault.rule))
            self._season.note(fault.kind, name, "refused", fault.rule)

    def _resent(self) -> None:
        periods = self._season.periods
        at = self._period()
        later = periods[min(at + 1, len(periods) - 1)]
        name = later.name(f"{_AFTER}_{self._season.sender.format}_renvoi")
        later.after.append(replace(self._season.regular(periods[at]), name=name, covers=None))
        self._season.note("resent_delivery", name, "no_op")


def _without(rows: pl.DataFrame, positions: Collection[int]) -> pl.DataFrame:
    """``rows`` but those at some positions, counted from 0."""
    if not positions:
        return rows
    kept = np.ones(rows.height, dtype=bool)
    kept[list(positions)] = False
    return rows.filter(pl.Series(kept))


def _numbers(positions: Iterable[int]) -> list[int]:
    """The record numbers of positions."""
    return [position + 1 for position in positions]


def _whole(name: str, table: Table) -> _File:
    return _File(name, table.text().encode(), table.rows.height, table.rows.select("key", "event_date"))


def _write(files: list[_File], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        draft = folder / f".{file.name}.part"  # a name that landing leaves alone
        draft.write_bytes(file.content)
        covers = (f"{file.covers.first_day}/{file.covers.last_day}",) if file.covers else ()
        notes.write(folder / file.name, notes.Note(covers=covers))
        draft.rename(folder / file.name)


def _expectations(silo: str, files: list[_File]) -> Iterator[ExpectedDelivery]:
    """What must become of each file.

    Of the rows with the same key, the last delivered stays; of files with the same bytes, the first counts.
    """
    first: dict[str, _File] = {}
    for file in files:
        first.setdefault(hashlib.sha256(file.content).hexdigest(), file)
    rows = pl.concat(file.accepted.with_columns(delivery_id=pl.lit(delivery_id)) for delivery_id, file in first.items())
    final = rows.unique("key", keep="last").group_by("delivery_id", "event_date").len().sort("event_date")
    loaded: dict[str, dict[date, int]] = {delivery_id: {} for delivery_id in first}
    for delivery_id, day, count in final.iter_rows():
        loaded[delivery_id][day] = count
    for delivery_id, file in first.items():
        yield ExpectedDelivery(
            silo=silo,
            file=file.name,
            delivery_id=delivery_id,
            refused=file.refused,
            rows=file.rows,
            quarantined=file.quarantined,
            loaded=loaded[delivery_id],
        )
