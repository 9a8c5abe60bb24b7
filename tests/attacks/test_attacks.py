"""The quick form of the suite: every attack that needs no service, on a made-up month built by the real project.

``make attack`` is the full one: two whole cities through the real pipeline, and P0, P14 on running lakes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from infra.build_spec import CityReference
from infra.calendar.days import DayRange
from infra.city.profile import load_city
from infra.settings import Settings
from privacy.plan import plan
from tests.attacks import (
    bounds,
    cells,
    columns,
    editions,
    enumeration,
    families,
    local,
    published,
    reruns,
    simulated,
    suite,
)
from tests.attacks.findings import Finding
from tests.attacks.local import Lake
from tests.attacks.published import Table
from tests.attacks.truth import Truth

pytestmark = pytest.mark.slow

MONTH = DayRange(first_day=date(2026, 4, 1), last_day=date(2026, 4, 30))


@dataclass(frozen=True)
class Small:
    folder: Path
    rows: Mapping[str, pl.DataFrame]
    lake: Lake
    truth: Truth
    released: Mapping[str, Table]
    built: Mapping[str, pl.DataFrame]


@pytest.fixture(scope="module", autouse=True)
def same_noise_each_time() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "KEYS_BACKEND", "tests.attacks.local:seeded_keys")
        yield


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A month of Marseille's zones, published by the real project."""
    folder = tmp_path_factory.mktemp("attacks")
    settings = Settings(home=folder / "home")
    reference = CityReference.of(load_city(settings))
    zones = published.zones(settings)
    rows = simulated.month([zone for zone in zones["zone_id"] if zone != "unknown"], MONTH.first_day, 30)
    lake = local.make(folder / "lake", rows, reference, MONTH)
    built = local.build(lake, suite.vehicle_marts(), threads=2)
    return Small(folder, rows, lake, Truth(rows, zones), local.tables(built), built)


def holds(finding: Finding) -> None:
    assert finding.control.succeeded, f"the control of {finding.attack} did not succeed: {finding.document()}"
    assert finding.within, finding.document()


def test_p1_plates_are_not_found_without_the_key(small: Small) -> None:
    bare = [f"RA{number:03d}QF" for number in range(1, 300)]
    real = enumeration.pseudonyms_of(bare, ["2026-04-15"], enumeration.UnknownKeys())
    rows = {
        silo: pl.DataFrame({"vehicle": sorted(real[silo, "2026-04-15"]), "event_date": MONTH.first_day})
        for silo in ("verbalisations", "tows")
    }
    for finding in enumeration.attack(rows, [f"{p[:2]}-{p[2:5]}-{p[5:]}" for p in bare], bare, ["marseille"]):
        holds(finding)


def test_p2_displayed_cells_are_not_one_or_two_vehicles(small: Small) -> None:
    for finding in cells.attack(small.released, small.truth):
        holds(finding)


def test_p3_no_table_has_rows_or_ids_of_people(small: Small) -> None:
    holds(columns.attack(small.released, small.rows["verbalisations"]))


def test_p4_p7_neither_programs_nor_subtractions_give_exact_values(small: Small) -> None:
    marts = suite.vehicle_marts()
    suppressed, exact_totals = (
        local.tables(local.build(small.lake, marts, project=local.broken(small.folder / name, *breakages), threads=2))
        for name, breakages in {
            "suppressed": (local.NO_NOISE, local.threshold(11)),
            "exact_totals": (local.EXACT_TOTALS,),
        }.items()
    )
    holds(bounds.attack(small.released, small.truth, plan(), suppressed))
    (finding,) = families.attack([small.released], small.truth, plan(), exact_totals)
    assert finding.control.succeeded, finding.document()
    assert finding.interval is not None
    assert finding.interval.high >= finding.limit, "a month has too few totals for more than this"


def test_p5_the_same_rows_give_the_same_bytes(small: Small) -> None:
    redrawn = [small.built, local.build(small.lake, sorted(small.built), keys=small.folder / "other-keys")]
    holds(reruns.attack_reruns(small.rows, small.lake, small.built, small.folder / "reruns", count=3, redrawn=redrawn))


def test_p6_two_editions_do_not_tell_where_late_rows_are(small: Small) -> None:
    marts = [mart for mart in suite.vehicle_marts() if mart.startswith("fines")]
    fines = {"verbalisations": small.rows["verbalisations"]}
    finding = editions.attack(fines, small.lake.city, MONTH, small.truth.zones, marts, folder=small.folder / "editions")
    assert finding.control.succeeded, finding.document()
    assert finding.interval is not None
    assert finding.interval.low <= finding.limit, "a month has too few cells for more than this"


def test_p8_p9_presence_costs_no_more_than_declared(small: Small) -> None:
    for finding in suite.on_mechanism(small.folder / "mechanism", print, pairs=1_000, quick=True):
        holds(finding)


def test_p13_the_shape_of_tables_does_not_depend_on_data(small: Small) -> None:
    holds(reruns.attack_shapes(small.rows, small.lake, small.built, small.folder / "shapes", quick=True))


def test_a_control_that_breaks_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(local.NotBrokenError, match="has nothing like"):
        local.broken(tmp_path / "p", local.Breakage("nothing", "macros/publish_counts.sql", "no such text", ""))
