"""P16: one vehicle, device or passer-by more, from the delivered file to the exact counts that noise is added to.

Two deliveries of each silo differ by one privacy unit in each quarter, in the ways that are worst or that cross a
threshold. They go through the real parsing, contracts and conforming and the real SQL; how far the counts of a mart
move in a month is compared with the bound that its noise was chosen for. Rows, periods and nulls have to be the same.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl

from infra.build_spec import CityReference
from infra.calendar.clock import add_months
from infra.calendar.days import DayRange
from infra.city.profile import load_city
from infra.keys.store import KeyStore
from infra.settings import Settings
from privacy.plan import Plan, plan
from tests.attacks import local, reruns
from tests.attacks.findings import Control, Finding
from tests.attacks.local import Breakage, Lake

sys.path.insert(
    0, str(Path(__file__).parents[1] / "ingestion" / "silos")
)  # its helpers import each other by plain names

from silo_delivery import Record, run, write
from silo_records import COUNTER, FOURRIERE, PRESENCE, PVE

from ingestion.register import silos
from ingestion.silos.verbalisations.formats import PVE_PLATE

ZONE = ZoneInfo("Europe/Paris")
QUARTERS = (1, 2, 3, 4)
MONTHS = {1: date(2025, 1, 1), 2: date(2025, 5, 1), 3: date(2025, 7, 1), 4: date(2025, 10, 1)}
"""A month of each quarter: of 31 days, with five of some weekdays; in October an hour comes twice."""
HIDDEN_AS_NOTHING = (
    Breakage("what is hidden counts nothing", "macros/hidden_people.sql", r"settings\.footfall_hidden \*", "0 *"),
    Breakage(
        "what is hidden counts nothing",
        "models/staging/telecom_footfall/stg_telecom_footfall__telecom_footfall.sql",
        r"greatest\(cast\(round\(source\.people\) as bigint\) - settings\.footfall_hidden, 0\)",
        "cast(round(source.people) as bigint)",
    ),
)
"""As it was before: the device that reaches the operator's threshold moves a count by 20."""


def fines(quarters: Collection[int], *, more: bool) -> Iterator[Record]:
    """Others every day; and a vehicle fined every day of a month, at other places for other reasons, once or for ever.

    With it a row without a plate, and one with a mistyped year: no day that anybody declared.
    """
    for quarter, month in _months(quarters):
        for day in range(28):
            at = f"{month + timedelta(days=day)} 14:05:00"
            yield {
                **PVE,
                "DI_Id": f"{quarter}-{day}",
                "MI_DateHeureInfraction": at,
                PVE_PLATE: f"BB-{day:03d}-{quarter}B",
            }
    if more:
        natures = ("6803", "6088", "11302", "25037")
        for day in range(31):
            at = MONTHS[1] + timedelta(days=day)
            place = {"MIFVAO_CoordGPSLatitude": str(43.29 + day % 5 / 100), "NI_CodeNatinf": natures[day % 4]}
            moment = {"MI_DateHeureInfraction": f"{at} {day % 24:02d}:00:00"}
            yield {**PVE, "DI_Id": f"more-{day}", PVE_PLATE: "ZZ-999-ZZ", **place, **moment}
        yield {**PVE, "DI_Id": "plateless", PVE_PLATE: "", "MI_DateHeureInfraction": "2025-05-03 10:00:00"}
        yield {**PVE, "DI_Id": "mistyped", PVE_PLATE: "ZZ-998-ZZ", "MI_DateHeureInfraction": "2024-07-05 10:00:00"}


def tows(quarters: Collection[int], *, more: bool) -> Iterator[Record]:
    """As fines: a vehicle towed every other day of a month, for other reasons, released after other times."""
    for quarter, month in _months(quarters):
        for day in range(28):
            at = {"date_heure_enlevement": f"{month + timedelta(days=day)} 14:05:00", "date_heure_mainlevee": ""}
            back = {"date_heure_restitution": f"{month + timedelta(days=day + 1)} 10:00:00"}
            plate = {"immatriculation": f"BB-{day:03d}-{quarter}B", "numero_dossier": f"{quarter}-{day}"}
            yield {**FOURRIERE, **at, **back, **plate}
    if more:
        for day in range(0, 30, 2):
            at = {"date_heure_enlevement": f"{MONTHS[1] + timedelta(days=day)} {day % 24:02d}:05:00"}
            back = {
                "date_heure_mainlevee": "",
                "date_heure_restitution": f"{date(2025, 2, 20) + timedelta(days=day)} 10:00:00",
            }
            yield {**FOURRIERE, **at, **back, "immatriculation": "ZZ-999-ZZ", "numero_dossier": f"more-{day}"}


def crowd(quarters: Collection[int], *, more: bool) -> Iterator[Record]:
    """A counter at work by day; and sixty passages: four an hour, or one an hour, or one in a quarter of an hour that
    nothing else was delivered of.
    """
    for _, month in _months(quarters):
        passages = dict.fromkeys((month + timedelta(days=day) for day in range(28)), 0)
        for day in passages:
            for hour in range(8, 20):
                counted = 50
                if more and month in {MONTHS[1], MONTHS[4]} and day.isoweekday() == 3 and hour < 11:
                    counted += 4
                elif more and month == MONTHS[2] and day.day <= 5:
                    counted += 1
                yield _counter(day, hour, counted)
    if more:
        yield _counter(date(2025, 7, 6), 4, 1)


def _counter(day: date, hour: int, counted: int) -> Record:
    return {
        **COUNTER,
        "starts_at": _instant(datetime(day.year, day.month, day.day, hour, tzinfo=ZONE)),
        "count": str(counted),
    }


def footfall(quarters: Collection[int], *, more: bool) -> Iterator[Record]:
    """A device in one zone and category for a whole month. Without it the operator counts there, quarter by quarter:
    19, and hides it; 50; 18, and does not hide it; 19, and does not hide it.
    """
    counts = {1: (19, True), 2: (50, True), 3: (18, False), 4: (19, False)}
    for quarter, month in _months(quarters):
        others, hides = counts[quarter]
        at = datetime(month.year, month.month, 1, tzinfo=ZONE).astimezone(UTC)
        while at.astimezone(ZONE).month == month.month:
            counted = others + more
            if counted >= 20 or not hides:
                yield {**PRESENCE, "hour": _instant(at), "count": str(counted)}
            yield {**PRESENCE, "hour": _instant(at), "category": "worker", "count": "200"}
            at += timedelta(hours=1)


def _months(quarters: Collection[int]) -> list[tuple[int, date]]:
    return [(quarter, MONTHS[quarter]) for quarter in quarters]


def _instant(at: datetime) -> str:
    return at.astimezone(ZONE).isoformat()


FORMATS = {
    "verbalisations": ("pve", fines),
    "tows": ("fourriere", tows),
    "crowd_flows": ("counter", crowd),
    "telecom_footfall": ("presence", footfall),
}


def conformed(folder: Path, quarters: Collection[int], *, more: bool) -> dict[str, pl.DataFrame]:
    """What becomes of the deliveries of all silos, by the code that takes deliveries in."""
    city = load_city(Settings(home=folder))
    rows = {}
    for silo, (name, records) in FORMATS.items():
        scratch = folder / silo
        scratch.mkdir(parents=True)
        path = write(scratch / "delivery.csv", silos()[silo].format(name), records(quarters, more=more))
        rows[silo] = run(silo, path, city, KeyStore(folder.parent / "keys"), scratch).rows
    return rows


def moved(plan: Plan, mart: str, one: pl.DataFrame, other: pl.DataFrame) -> float:
    """How far exact counts of a mart are apart in the month where they are furthest: the sum of squares over cells."""
    cells = [name for name in one.columns if name not in {"exact", "measured"}]
    both = one.join(other, on=cells, suffix="_other", nulls_equal=True)
    change = (pl.col("exact_other") - pl.col("exact")).abs()
    span = {"day": "1mo", "month": "1mo", "quarter": "1q"}[plan.marts[mart].release]
    sums = both.group_by(pl.col("unit_start").dt.truncate(span)).agg((change**2).sum().alias("moved"))
    return float(sums["moved"].max() or 0)  # type: ignore[arg-type]


def lakes(folder: Path, quarters: Collection[int]) -> list[Lake]:
    """What the lake holds of quarters of 2025, from the first on, without the units, and with them."""
    days = DayRange(
        first_day=date(2025, 1, 1), last_day=add_months(date(2025, 1, 1), 3 * max(quarters)) - timedelta(days=1)
    )
    city = CityReference.of(load_city(Settings(home=folder)))
    return [
        local.make(folder / f"lake-{name}", conformed(folder / name, quarters, more=more), city, days)
        for name, more in (("less", False), ("more", True))
    ]


def largest(
    pair: Sequence[Lake], marts: Sequence[str], project: Path = local.PROJECT
) -> tuple[dict[str, float], list[str]]:
    """The largest change of each mart's counts, and what else differs between the two builds."""
    tables = {mart: f"intermediate.int_{mart}_measured" for mart in marts}
    keys = pair[0].keys
    one, other = (
        local.build(lake, marts, project=project, keys=keys, read=tuple(tables.values()), threads=2) for lake in pair
    )
    changes = {mart: moved(plan(), mart, one[table], other[table]) for mart, table in tables.items()}
    shapes = reruns.shape_differences({mart: one[mart] for mart in marts}, {mart: other[mart] for mart in marts})
    return changes, shapes


def attack(folder: Path, quarters: Collection[int] = QUARTERS) -> list[Finding]:
    """P16 on every mart; broken: what the operator hides counts nothing. The first quarter has a case of each silo."""
    declared = plan().marts
    pair = lakes(folder, quarters)
    changes, shapes = largest(pair, sorted(declared))
    project = local.broken(folder / "project", *HIDDEN_AS_NOTHING)
    of_devices = [mart for mart in declared if mart.startswith("footfall")]
    before, _ = largest(pair, of_devices, project)
    worst = {mart: change / declared[mart].bound for mart, change in changes.items()}
    unmoved = [mart for mart, change in changes.items() if not change]
    return [
        Finding(
            "P16",
            "largest change of a mart's counts by one unit, from delivery to mart, over the bound declared, worst mart",
            limit=1.0,
            measured=max(worst.values()),
            control=Control(
                "what the operator hides counts nothing",
                max(change / declared[mart].bound for mart, change in before.items()),
                20.0,
            ),
            details={mart: {"largest": changes[mart], "bound": declared[mart].bound} for mart in changes},
        ),
        Finding(
            "P16",
            "rows, periods and nulls that one unit more changes",
            limit=0,
            measured=len(shapes),
            control=Control("marts whose counts one unit changes", len(declared) - len(unmoved), len(declared)),
            details={"differences": shapes, "unmoved": unmoved},
        ),
    ]
