"""Seeded demo cities, delivered, ingested, built and released by the real pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from calanque.demo.generate import generate
from infra.city.profile import load_city
from infra.machines.services import lake
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import landing
from ingestion.register import silos
from ingestion.synthetic.draws import VEHICLES, vehicles
from publication.builds import building
from publication.releases import release
from tests.attacks import planted

Say = Callable[[str], None]
FIRST = date(2025, 7, 1)
SETTLED = timedelta(days=20)
"""So long after its last day every period of a city is due."""


@dataclass(frozen=True)
class Plan:
    """A city to be made: the same numbers give the same deliveries."""

    name: str
    seed: int
    days: int
    scale: float

    @property
    def last_day(self) -> date:
        return FIRST + timedelta(days=self.days - 1)

    def plates(self) -> list[str]:
        """All vehicles of the city."""
        return vehicles(self.seed, max(round(VEHICLES * self.scale), 1_000)).plates.to_list()


CITIES = (Plan("Marseille, seed 20260101", 20260101, 365, 1.0), Plan("Marseille, seed 7, half the volume", 7, 365, 0.5))


def make(city: Plan, home: Path, say: Say) -> Settings:
    """A running lake in ``home`` with everything of the city published."""
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    now = datetime.combine(city.last_day + SETTLED, datetime.min.time(), UTC) + timedelta(hours=9)
    settings = Settings(home=home, drill=True, now=now, quiet=True)
    say("starting a lake")
    lake.up(settings, airflow=False)
    say("deliveries")
    generate(
        load_city(settings),
        seed=city.seed,
        start=FIRST,
        days=city.days,
        scale=city.scale,
        drop_dir=settings.drop_dir,
        faults=False,
        days_per_delivery=30,
    )
    planted.plant(settings.drop_dir, FIRST + timedelta(days=10))
    for silo in silos():
        say(f"ingesting {silo}")
        landing.sweep(settings, silo)
        pipeline.ingest(settings, silo)
    say("building")
    built = building.build(settings)
    if built is None or built.failed:
        raise RuntimeError(f"the city could not be built: {built.report()['failed'] if built else 'nothing was due'}")
    say("releasing")
    release.release_latest(settings)
    return settings
