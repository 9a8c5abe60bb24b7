"""What a file will declare, and on which days its rows lie, told to whoever delivers it before it is delivered."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from infra.calendar import clock, days
from infra.calendar.days import DayRange
from infra.city.profile import load_city
from infra.keys.store import KeyStore
from infra.settings import Settings
from ingestion.conformed.schemas import file_schema
from ingestion.delivery import declaring
from ingestion.formats.opening import open_delivery
from ingestion.formats.reading import read_batches
from ingestion.formats.recognition import named, recognise, sample
from ingestion.register import silos
from ingestion.rows.conforming import conform
from ingestion.rows.pseudonyms import Pseudonymiser

LARGEST_BYTES = 64 * 2**20
"""Rows of larger files are not looked at before they are delivered."""


@dataclass(frozen=True)
class Preview:
    """``tells`` are the days that the file's name declares; ``rows`` the accepted ones by day, if it says nothing."""

    silo: str
    tells: DayRange | None = None
    rows: Mapping[date, int] | None = None

    @property
    def sentence(self) -> str | None:
        """What to know of it, and what to type; None when there is nothing to say."""
        if self.tells:
            return f"it declares {self.silo} complete for {self.tells}"
        if not self.rows:
            return None
        most = max(days.ranges(self.rows), key=lambda each: sum((self.rows or {})[day] for day in each.days))
        return (
            f"its {sum(self.rows.values()):,} rows lie on {days.told(self.rows)}, and nothing says that {self.silo} is "
            "complete for these days: no build reads them before somebody does. If it is, deliver it with "
            f"`--covers {most.first_day}/{most.last_day}`, or say `calanque cover {self.silo} {most.first_day} "
            f"{most.last_day} --reason ...`"
        )


def preview(settings: Settings, silo: str, path: Path, format_name: str | None = None) -> Preview:
    """What a file tells of its days by its name or, if it does not, by its rows; nothing of it is kept.

    Raises:
        ingestion.refusal.Refused: it cannot be read, or no format explains it.
    """
    declared = silos()[silo]
    settings.work_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="preview-", dir=settings.work_dir) as folder:
        scratch = Path(folder)
        opened = open_delivery(path, path.name, scratch)
        beginning = sample(opened.path)
        accepted = (
            named(declared, format_name, beginning, path.name)
            if format_name
            else recognise(declared, beginning, path.name)
        )
        dataset = declared.dataset(accepted.dataset)
        tells = accepted.covers(path.name) if accepted.covers else None
        if tells and tells.last_day >= declaring.local_day(settings, clock.now(settings)):
            tells = None  # it is not over
        if tells or dataset.reference or opened.size > LARGEST_BYTES:
            return Preview(silo, tells)
        conformed = conform(
            lambda: read_batches(opened.path, accepted, name=path.name),
            dataset=dataset,
            accepted=accepted,
            city=load_city(settings),
            pseudonymiser=Pseudonymiser(silo, KeyStore(scratch / "keys")),  # keys that nobody ever sees again
            schema=file_schema(dataset),
            delivery_id="",
            scratch=scratch,
        )
        rows: Counter[date] = Counter()
        for file in conformed.files:
            rows[file.day] += file.rows
    return Preview(silo, rows=dict(rows))
