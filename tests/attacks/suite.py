"""All attacks on one city, and those on the machinery that every city shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from infra.build_spec import CityReference
from infra.calendar.days import DayRange
from infra.city.profile import load_city
from infra.settings import Settings
from privacy.plan import plan
from tests.attacks import (
    audit,
    bounds,
    cells,
    cities,
    columns,
    editions,
    enumeration,
    families,
    ledger_drill,
    local,
    neighbours,
    planted,
    published,
    readable,
    reruns,
    truth,
)
from tests.attacks.findings import Finding
from tests.attacks.truth import Truth

Say = Callable[[str], None]
PEOPLE = ("verbalisations", "tows")
"""The datasets with a row per event of a vehicle."""
RERUNS = 50
FEWER_RERUNS = 12
"""Of every city but the first: two of each way."""
REDRAWN = 4
PAIRS = 20_000
SOME_PLATES = 100
"""Plates that P0 looks for everywhere."""
TRIED_PLATES = 50_000
"""Plates that P1 tries, in 4 spellings under some 30 schemes each: an enumeration that knows where to look."""


def vehicle_marts() -> list[str]:
    """The marts of fines and tows: the ones with a person behind every count."""
    return [mart for mart in plan().marts if mart.startswith(("fines", "tows"))]


def on_city(city: cities.Plan, settings: Settings, scratch: Path, say: Say, *, count: int = RERUNS) -> list[Finding]:
    """P0 to P7 and P13 on what a lake published."""
    say("reading what is published, and the truth")
    reference = CityReference.of(load_city(settings))
    release = published.read(settings)
    rows = truth.conformed(settings)
    known = Truth(rows, published.zones(settings))
    year = DayRange(first_day=cities.FIRST, last_day=city.last_day)
    people = {name: rows[name] for name in PEOPLE}
    plates = city.plates()

    say("P0: planted values")
    some = np.random.default_rng(city.seed).choice(plates, SOME_PLATES, replace=False).tolist()
    findings = [planted.attack(settings, some)]
    say("P1: enumeration")
    words = [*PEOPLE, city.name, settings.city, *(f"{year.first_day.year + (m > 12)}-{m:02d}" for m in range(1, 13))]
    tried = plates[:TRIED_PLATES]  # those fined most come first
    findings += enumeration.attack(rows, tried, [plate.replace("-", "") for plate in tried], words)

    say("P2, P3: cells and columns")
    findings += cells.attack(release.tables, known)
    findings.append(columns.attack(release.tables, rows["verbalisations"]))

    say("broken builds of the whole period")
    lake = local.make(scratch / "year", people, reference, year)
    marts = vehicle_marts()
    wrong = {
        "suppressed": local.broken(scratch / "suppressed", local.NO_NOISE, local.threshold(11)),
        "exact_totals": local.broken(scratch / "exact_totals", local.EXACT_TOTALS),
    }
    broken = {name: local.tables(local.build(lake, marts, project=project)) for name, project in wrong.items()}
    redrawn = [local.build(lake, marts, keys=scratch / f"keys-{number}") for number in range(REDRAWN)]

    say("P4: bounds by linear programs")
    findings.append(bounds.attack(release.tables, known, plan(), broken["suppressed"]))
    say("P7: differences across marts")
    others = [local.tables(made) for made in redrawn]
    findings += families.attack([release.tables, *others], known, plan(), broken["exact_totals"])

    say("P6: differences of editions")
    fines = [mart for mart in marts if mart.startswith("fines")]
    of_fines = {"verbalisations": rows["verbalisations"]}
    findings.append(editions.attack(of_fines, reference, year, known.zones, fines, folder=scratch / "editions"))

    say("P13: shapes")
    month = _between(rows, cities.FIRST, cities.FIRST + timedelta(days=30))
    small = local.make(scratch / "month", month[0], reference, month[1])
    first = local.build(small, sorted(plan().marts))
    findings.append(reruns.attack_shapes(month[0], small, first, scratch / "shapes"))
    say(f"P5: {count} re-runs")
    first = {mart: frame for mart, frame in first.items() if mart in marts}
    findings.append(reruns.attack_reruns(month[0], small, first, scratch / "reruns", count=count, redrawn=redrawn))
    return findings


def _between(rows: Mapping[str, pl.DataFrame], first: date, last: date) -> tuple[dict[str, pl.DataFrame], DayRange]:
    within = {name: frame.filter(pl.col("event_date").is_between(first, last)) for name, frame in rows.items()}
    return within, DayRange(first_day=first, last_day=last)


def on_mechanism(scratch: Path, say: Say, *, pairs: int = PAIRS, quick: bool = False) -> list[Finding]:
    """P8 and P9 on the real project, on a city made for them; ``quick`` has one broken build for both: the worse one,
    since fewer trials prove less.
    """
    unbounded = "no contribution bounding", (local.NO_BOUNDING,)
    daily = (
        "rho 1 a day, five days a month, no contribution bounding",
        (local.NO_BOUNDING, local.spending("fines_by_day", "1")),
    )
    builds: dict[str, tuple[local.Breakage, ...]] = dict([("real", ()), daily, *([] if quick else [unbounded])])
    trials = {}
    for number, (name, breakages) in enumerate(builds.items()):
        say(f"P8, P9: {2 * pairs} trials, {name}")
        project = local.broken(scratch / f"project-{number}", *breakages) if breakages else local.PROJECT
        trials[name] = audit.run(scratch / f"lake-{number}", 2 * pairs, plan(), project=project)
    worse, much_worse = daily[0] if quick else unbounded[0], daily[0]
    return [
        *audit.attack_presence(trials["real"], trials[worse], worse),
        *audit.attack_membership(trials["real"], trials[much_worse], much_worse),
    ]


def on_deliveries(scratch: Path, say: Say) -> list[Finding]:
    """P16 on every mart, from delivered files on."""
    say("P16: neighbouring deliveries")
    return neighbours.attack(scratch)


def on_ledger(settings: Settings, scratch: Path, say: Say) -> list[Finding]:
    """P14 and P15 on a running lake, which they empty."""
    say("P14: tampering")
    findings = ledger_drill.attack(settings, scratch)
    say("P15: every readable byte")
    return [*findings, readable.attack(settings, scratch)]
