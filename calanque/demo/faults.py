"""The faults that real senders make, as changes to a delivery.

Row faults write wrong cells into a few rows of a good delivery. File faults make a bad file out of a good delivery; the
good one is delivered as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
import polars as pl

from calanque.demo.table import Table
from infra.calendar.clock import clock_changes, to_utc
from infra.city.profile import City
from ingestion.formats.reading import MALFORMED
from ingestion.silos.telecom_footfall.contracts import INDIVIDUAL_LEVEL

ROWS_PER_FAULT = 3


@dataclass(frozen=True)
class Scene:
    """Where and when a fault happens.

    The ``day`` of the delivery, a point ``outside`` the city, a local time that the city's clocks ``skipped`` (None
    where they never do).
    """

    day: date
    outside: tuple[str, str]
    skipped: str | None


def scene(city: City, day: date) -> Scene:
    """The scene of a delivery of ``day``."""
    return Scene(day, _outside(city), _skipped(city.time_zone, day))


def _outside(city: City) -> tuple[str, str]:
    capitals = pl.DataFrame({"lon": ["2.34880", "13.37770", "-0.12760"], "lat": ["48.85341", "52.51630", "51.50720"]})
    found = city.locate(capitals["lon"].cast(pl.Float64), capitals["lat"].cast(pl.Float64))
    lon, lat = capitals.filter(found.is_null()).row(0)
    return lon, lat


def _skipped(time_zone: str, until: date) -> str | None:
    """The latest time, to the half hour, that no clock of ``time_zone`` showed; None if there was none for a year."""
    for day in sorted(clock_changes(time_zone, until - timedelta(days=400), until), reverse=True):
        times = pl.datetime_range(day, day + timedelta(days=1), interval="30m", closed="left", eager=True).alias("time")
        never = times.to_frame().filter(to_utc(pl.col("time"), time_zone).is_null())
        if never.height:
            return str(never["time"].dt.strftime("%Y-%m-%d %H:%M:%S")[-1])
    return None


@dataclass(frozen=True)
class RowFault:
    """Wrong ``cells`` (column: value) in a few rows; None where the scene offers no such fault."""

    kind: str
    rule: str
    cells: Callable[[Scene], Mapping[str, str] | None]
    severity: Literal["error", "warning"] = "error"


def _fixed(**cells: str) -> Callable[[Scene], Mapping[str, str]]:
    return lambda _: cells


def _shared(moment: str, lon: str, lat: str, last: str, record: str) -> tuple[RowFault, ...]:
    """Faults of events with a record number, a local time and a place, given the columns; ``last`` ends the line."""

    def outside(scene: Scene) -> Mapping[str, str]:
        return {lon: scene.outside[0], lat: scene.outside[1]}

    def skipped(scene: Scene) -> Mapping[str, str] | None:
        return {moment: scene.skipped} if scene.skipped else None

    return (
        RowFault("sentinel_coordinates", "coordinates_unknown", _fixed(**{lon: "99999", lat: "99999"}), "warning"),
        RowFault("blank_coordinates", "coordinates_unknown", _fixed(**{lon: "", lat: ""}), "warning"),
        RowFault("bad_coordinates", "coordinates_unreadable", _fixed(**{lat: "43°17'N"})),
        RowFault("outside_city", "outside_city", outside),
        RowFault("clock_change", "time_does_not_exist", skipped),
        RowFault("bad_date", "date_unreadable", lambda scene: {moment: f"{scene.day.year}-02-31 10:00:00"}),
        RowFault("future_date", "date_out_of_range", _fixed(**{moment: "2199-01-01 08:00:00"})),
        RowFault("bad_time", "time_unreadable", lambda scene: {moment: f"{scene.day} 27:80:00"}),
        RowFault("missing_record_number", "record_missing", _fixed(**{record: ""})),
        RowFault("stray_delimiter", MALFORMED, _fixed(**{last: "{delimiter}"})),
    )


def _counted(moment: str, off_grid: str, last: str) -> tuple[RowFault, ...]:
    """Faults of counts at a time with its UTC offset, given the columns; ``off_grid`` is a time within an interval."""
    return (
        RowFault("absurd_count", "count_absurd", _fixed(count="88000000")),
        RowFault("bad_count", "count_unreadable", _fixed(count="douze")),
        RowFault("bad_date", "date_unreadable", lambda scene: {moment: f"{scene.day.year}-02-31T10:00:00+01:00"}),
        RowFault("future_date", "date_out_of_range", _fixed(**{moment: "2199-01-01T08:00:00+01:00"})),
        RowFault("off_grid", "starts_off_grid", lambda scene: {moment: f"{scene.day}T{off_grid}+02:00"}),
        RowFault("stray_delimiter", MALFORMED, _fixed(**{last: "{delimiter}"})),
    )


ROW_FAULTS: Mapping[str, tuple[RowFault, ...]] = {
    "verbalisations": (
        *_shared(
            moment="MI_DateHeureInfraction",
            lon="MIFVAO_CoordGPSLongitude",
            lat="MIFVAO_CoordGPSLatitude",
            last="MIFVAO_VehiculeImmatriculation",
            record="DI_Id",
        ),
        RowFault("bad_code", "offence_code_unknown", _fixed(NI_CodeNatinf="STAT-12")),
        RowFault("foreign_plate", "plate_unusual", _fixed(MIFVAO_VehiculeImmatriculation="XX-123456-CD-99"), "warning"),
    ),
    "tows": (
        *_shared(
            moment="date_heure_enlevement", lon="longitude", lat="latitude", last="issue", record="numero_dossier"
        ),
        RowFault("bad_code", "reason_unknown", _fixed(motif="motif 17")),
        RowFault("bad_outcome", "outcome_unknown", _fixed(issue="on verra")),
        RowFault("missing_depot", "depot_missing", _fixed(fourriere="")),
        RowFault("missing_plate", "plate_unknown", _fixed(immatriculation=""), "warning"),
        RowFault(
            "release_before_removal",
            "release_out_of_range",
            _fixed(date_heure_mainlevee="", date_heure_restitution="2001-01-01 10:00:00", issue="restitution"),
        ),
    ),
    "crowd_flows": (
        *_counted(moment="starts_at", off_grid="10:07:00", last="area_m2"),
        RowFault("bad_code", "place_unknown", _fixed(place_id="nulle-part")),
        RowFault("bad_direction", "direction_unknown", _fixed(direction="de travers")),
        RowFault("negative_count", "count_negative", _fixed(count="-5")),
        RowFault("bad_area", "area_unreadable", _fixed(area_m2="-3")),
    ),
    "telecom_footfall": (
        *_counted(moment="hour", off_grid="10:15:00", last="count"),
        RowFault("bad_code", "zone_unknown", _fixed(zone="9999")),
        RowFault("bad_category", "category_unknown", _fixed(category="touriste?")),
        RowFault("under_threshold", "under_operator_threshold", _fixed(count="3"), "warning"),
        # The number of no subscriber: 001 is the test network.
        RowFault("individual_rows", INDIVIDUAL_LEVEL, _fixed(zone="001019999999999")),
    ),
}
CORRECTIONS: Mapping[str, Mapping[str, str]] = {
    "verbalisations": {"NI_CodeNatinf": "6088", "NI_Qualification": "EMPLOI D'UN AVERTISSEUR SONORE"},
    "tows": {"motif": "tournage"},
    "crowd_flows": {"count": "77"},
    "telecom_footfall": {"count": "77"},
}
"""What a corrected delivery says instead."""


@dataclass(frozen=True)
class FileFault:
    """A bad file, refused as a whole by ``rule``. ``make`` makes it of a delivery and one of another silo."""

    kind: str
    rule: str
    make: Callable[[Table, Table, np.random.Generator], bytes]


def _file_faults(required: str, renamed: tuple[str, str]) -> tuple[FileFault, ...]:
    """Faults of whole files, given a ``required`` column, and one with its new name."""

    def junk(_: Table, __: Table, random: np.random.Generator) -> bytes:
        return b"\x89PNG\r\n\x1a\n" + random.bytes(2_000)

    def without_column(table: Table, _: Table, __: np.random.Generator) -> bytes:
        position = table.columns.index(required)
        lines = (line.split(table.delimiter) for line in (table.header, *table.rows["line"]))
        return "\n".join(table.delimiter.join(cells[:position] + cells[position + 1 :]) for cells in lines).encode()

    def with_new_name(table: Table, _: Table, __: np.random.Generator) -> bytes:
        return table.text().replace(*renamed, 1).encode()

    return (
        FileFault("empty_file", "empty_file", lambda *_: b""),
        FileFault("binary_junk", "binary_content", junk),
        FileFault("missing_column", "columns_missing", without_column),
        FileFault("renamed_column", "columns_missing", with_new_name),
        FileFault("wrong_silo", "wrong_silo", lambda _, other, __: other.text().encode()),
    )


def _with_identifiers(table: Table, _: Table, random: np.random.Generator) -> bytes:
    """What an operator must never send: a line per subscriber. The numbers are of the test network (001 01)."""
    numbers = random.integers(0, 10**10, table.rows.height)
    lines = (f"{line};00101{number:010d}" for line, number in zip(table.rows["line"], numbers, strict=True))
    return "\n".join([f"{table.header};imsi", *lines, ""]).encode()


FILE_FAULTS: Mapping[str, tuple[FileFault, ...]] = {
    "verbalisations": _file_faults("NI_CodeNatinf", ("MI_DateHeureInfraction", "MI_DateInfraction")),
    "tows": _file_faults("motif", ("date_heure_enlevement", "date_enlevement")),
    "crowd_flows": _file_faults("direction", ("starts_at", "debut")),
    "telecom_footfall": (
        *_file_faults("category", ("hour", "heure")),
        FileFault("individual_columns", INDIVIDUAL_LEVEL, _with_identifiers),
    ),
}


def truncated(table: Table) -> tuple[bytes, int]:
    """The first part of a delivery, cut in the middle of a row, and how many rows it has, the cut one included."""
    whole = int(table.rows.height * 0.6)
    first_cell = table.rows["line"][whole].split(table.delimiter)[0]
    return "\n".join([table.header, *table.rows["line"].head(whole), first_cell + table.delimiter]).encode(), whole + 1
