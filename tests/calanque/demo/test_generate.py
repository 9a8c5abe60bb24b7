"""The demo city: the same seed gives the same bytes, rhythms look like a city's, and every file is what it claims."""

from __future__ import annotations

import hashlib
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from calanque.demo import bulk
from calanque.demo.generate import generate
from calanque.demo.score import score
from calanque.demo.truth import Truth
from infra.build_spec import FOOTFALL_THRESHOLD
from infra.city.profile import City, load_city
from infra.settings import Settings
from ingestion.register import silos
from ingestion.silos.crowd_flows.demo import Crowds
from ingestion.silos.telecom_footfall.demo import Footfall
from ingestion.silos.tows.demo import Tows
from ingestion.silos.verbalisations.demo import Fines
from ingestion.synthetic.draws import vehicles
from tests.calanque.demo.conftest import outcome_of

AUTUMN = date(2025, 10, 20)  # the clocks go back on the 26th
SPRING = date(2025, 3, 24)  # and forward on the 30th
MONDAY = date(2025, 9, 15)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(marseille: City, tmp_path: Path) -> None:
    def made(name: str, seed: int) -> tuple[Truth, dict[str, str]]:
        truth = generate(marseille, seed=seed, start=MONDAY, days=4, scale=0.1, drop_dir=tmp_path / name)
        return truth, digests(tmp_path / name)

    once, again, other = made("a", 1), made("b", 1), made("c", 2)
    assert once == again
    common = once[1].keys() & other[1].keys()
    same = {name for name in common if once[1][name] == other[1][name]}
    assert common
    assert all("empty_file" in name for name in same)


def test_a_day_does_not_depend_on_the_days_around_it(marseille: City, tmp_path: Path) -> None:
    for name, start, days in (("long", MONDAY, 3), ("short", MONDAY + timedelta(days=1), 1)):
        generate(marseille, seed=1, start=start, days=days, scale=0.1, drop_dir=tmp_path / name, faults=False)
    long, short = digests(tmp_path / "long"), digests(tmp_path / "short")
    tows = {name for name in short if name.startswith("tows")}  # these also list earlier removals released that day
    assert len(short) == len(silos())
    assert {name: long[name] for name in short.keys() - tows} == {name: short[name] for name in short.keys() - tows}


@pytest.mark.parametrize("start", [AUTUMN, SPRING], ids=["autumn", "spring"])
def test_the_real_checks_find_every_fault_and_turn_nothing_sound_away(
    marseille: City, tmp_path: Path, start: date
) -> None:
    truth = generate(marseille, seed=11, start=start, days=8, scale=0.3, drop_dir=tmp_path / "drop")
    result = score(truth, outcome_of(tmp_path / "drop", marseille, tmp_path / "scratch"))
    assert result.complaints == ()
    assert result.is_perfect
    assert result.detection == 1.0
    assert result.sound_rows > 30_000
    kinds = {(fault.silo, fault.kind) for fault in truth.faults}
    for silo in silos():
        demo = silos()[silo].demo()
        own = (*(each for each in demo.breaks if each.kind), *demo.file_faults)
        assert {(silo, fault.kind) for fault in own} <= kinds
        everywhere = {"late_rows", "duplicated_rows", "corrected_delivery", "resent_delivery", "truncated_file"}
        assert {(silo, kind) for kind in (*everywhere, "day_of_clock_change")} <= kinds
    assert {("verbalisations", "wrong_encoding"), ("tows", "wrong_encoding")} <= kinds


def test_deliveries_of_two_days_in_a_city_of_h3_cells(tmp_path: Path) -> None:
    """Any profile will do; several days to a delivery too."""
    city = load_city(Settings(city="elsewhere", geo=None))
    truth = generate(
        city, seed=3, start=MONDAY, days=5, scale=0.05, drop_dir=tmp_path / "drop", faults=True, days_per_delivery=2
    )
    result = score(truth, outcome_of(tmp_path / "drop", city, tmp_path / "scratch"))
    assert result.complaints == ()
    regular = [delivery for delivery in truth.deliveries if "_2_pve" in delivery.file]
    assert [delivery.file[:10] for delivery in regular] == ["2025-09-16", "2025-09-18", "2025-09-19"]


def test_a_day_with_next_to_no_rows_is_scored_too(marseille: City, tmp_path: Path) -> None:
    truth = generate(marseille, seed=1, start=MONDAY, days=1, scale=0.005, drop_dir=tmp_path / "drop")
    result = score(truth, outcome_of(tmp_path / "drop", marseille, tmp_path / "scratch"))
    assert result.complaints == ()
    assert "late_rows" not in {fault.kind for fault in truth.faults}  # there is no earlier delivery


def test_every_rule_that_is_expected_exists(marseille: City, tmp_path: Path) -> None:
    truth = generate(marseille, seed=1, start=MONDAY, days=3, scale=0.1, drop_dir=tmp_path / "drop")
    assert Truth.read(_saved(truth, tmp_path / "truth.json")) == truth
    assert len({fault.id for fault in truth.faults}) == len(truth.faults)
    engine = {"duplicate_key", "row_malformed", "encoding_unexpected"}
    for fault in truth.faults:
        if fault.expect in {"quarantined", "warned"} and fault.rule not in engine:
            assert fault.rule in silos()[fault.silo].rules
    files = {path.name for path in (tmp_path / "drop").rglob("*.csv")}
    repeats = {fault.file for fault in truth.faults if fault.expect == "no_op"}
    assert files == {delivery.file for delivery in truth.deliveries} | repeats


def _saved(truth: Truth, path: Path) -> Path:
    truth.save(path)
    return path


def test_without_faults_there_is_one_sound_delivery_per_silo_and_day(marseille: City, tmp_path: Path) -> None:
    truth = generate(marseille, seed=1, start=MONDAY, days=2, scale=0.1, drop_dir=tmp_path / "drop", faults=False)
    assert truth.faults == ()
    assert [delivery.quarantined for delivery in truth.deliveries] == [()] * 2 * len(silos())
    assert len(digests(tmp_path / "drop")) == 2 * len(silos())
    with pytest.raises(ValueError, match="at least 1"):
        generate(marseille, seed=1, start=MONDAY, days=0, drop_dir=tmp_path / "drop")


def test_fines_have_the_rhythms_of_a_city(marseille: City) -> None:
    fines = Fines(marseille, seed=5)
    week = [fines.day(MONDAY + timedelta(days=n)) for n in range(7)]
    counts = [table.rows.height for table in week]
    assert 400_000 * 0.85 < sum(counts) * 52 < 400_000 * 1.15
    assert counts[6] < counts[5] < min(counts[:5])
    hour = week[1].cells("MI_DateHeureInfraction").str.slice(11, 2).cast(pl.Int64)
    by_hour = np.bincount(hour.to_numpy(), minlength=24)
    assert by_hour[10] > 5 * by_hour[4]
    rows = pl.concat(table.rows for table in week)
    assert rows["key"].n_unique() == rows.height
    lat, lon = (
        pl.concat(table.cells(f"MIFVAO_CoordGPS{name}") for table in week).cast(pl.Float64)
        for name in ("Latitude", "Longitude")
    )
    by_zone = marseille.locate(lon, lat).value_counts(sort=True)
    assert by_zone["zone_id"].null_count() == 0
    assert by_zone["count"].head(11).sum() > 0.25 * by_zone["count"].sum()
    assert by_zone.height > 100


def test_vehicles_are_made_up_and_heavy_tailed(marseille: City) -> None:
    cars = vehicles(5, 50_000)
    assert cars.plates.n_unique() == 50_000
    assert cars.plates.str.contains(rf"^(?:{'|'.join(marseille.plates)})$").all()
    # Series that France will not reach for years: no real car has such a plate.
    assert set(cars.plates.str.head(1)) == set("RTV")
    drawn = np.sort(np.bincount(cars.draw(np.random.default_rng(1), 80_000), minlength=50_000))[::-1]
    assert drawn[:500].sum() > 4 * 80_000 / 100  # the first hundredth has much more than a hundredth
    assert (drawn > 0).sum() > 20_000  # yet most are fined once or not at all
    # On doubled logarithmic scales a power law is a line; ours falls with a slope of about -3/7.
    rank = np.array([10, 100, 1000, 5000])
    around = [drawn[int(r * 0.8) : int(r * 1.2)].mean() for r in rank]
    slope = np.polyfit(np.log(rank), np.log(around), 1)[0]
    assert -0.6 < slope < -0.3


def test_removed_vehicles_leave_the_pound_later(marseille: City) -> None:
    tows = Tows(marseille, seed=5, since=MONDAY)
    days = [tows.day(MONDAY + timedelta(days=n)) for n in range(20)]
    assert set(days[0].rows["event_date"]) == {MONDAY}
    again = pl.concat(day.rows for day in days)
    again = again.filter(pl.col("key").is_duplicated())
    assert again.height > 100
    assert again["key"].value_counts()["count"].max() == 2  # removed, then released
    first = again.filter(pl.col("key").is_first_distinct())
    assert first["line"].str.split(";").list.last().unique().to_list() == [""]
    for column in ("date_heure_mainlevee", "date_heure_restitution"):
        for number, day in enumerate(days):
            told = day.cells(column).replace("", None).drop_nulls().str.to_datetime()
            assert told.dt.date().max() <= MONDAY + timedelta(days=number)
    delays = pl.concat(
        day.cells("date_heure_restitution").str.to_datetime(strict=False)
        - day.cells("date_heure_enlevement").str.to_datetime()
        for day in days
    ).drop_nulls()
    assert delays.min() > timedelta(minutes=5)
    assert delays.max() > timedelta(days=10)


@pytest.mark.parametrize(("day", "hours"), [(date(2025, 10, 26), 25), (date(2025, 3, 30), 23), (date(2025, 9, 15), 24)])
def test_grids_follow_the_clock(marseille: City, day: date, hours: int) -> None:
    crowds, footfall = Crowds(marseille, seed=5).day(day), Footfall(marseille, seed=5).day(day)
    assert crowds.rows.height == hours * 4 * 2 * marseille.places.height
    for table, column in ((crowds, "starts_at"), (footfall, "hour")):
        assert table.rows["key"].n_unique() == table.rows.height
        starts = {datetime.fromisoformat(text) for text in table.cells(column)}
        assert len(starts) == hours * (4 if column == "starts_at" else 1)
        assert (max(starts) - min(starts)) < timedelta(hours=hours)
    assert footfall.cells("count").cast(pl.Int64).min() >= FOOTFALL_THRESHOLD


def test_some_places_overflow_now_and_then(marseille: City) -> None:
    threshold = marseille.places.select(full=pl.col("area_m2") * pl.col("density_threshold"), place_id="place_id")
    crowded = 0
    for n in range(14):
        day = Crowds(marseille, seed=5).day(MONDAY + timedelta(days=n))
        people = pl.DataFrame(
            {name: day.cells(name) for name in ("place_id", "starts_at")} | {"n": day.cells("count").cast(pl.Int64)}
        )
        both = people.group_by("place_id", "starts_at").agg(pl.col("n").sum()).join(threshold, on="place_id")
        crowded += both.filter(pl.col("n") > pl.col("full")).height
    assert 0 < crowded < 14 * 96 * marseille.places.height / 50


@pytest.mark.parametrize("rows", [1, 1_000, 30_001])
def test_bulk_files_have_exactly_the_rows_asked_for(
    marseille: City, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(bulk, "CHUNK_ROWS", 5_000)
    few_days = {"city": marseille, "seed": 1, "start": MONDAY, "days": 2}
    bulk.write_pve(tmp_path / "pve", rows, **few_days)
    bulk.write_fourriere(tmp_path / "fourriere", rows, **few_days)
    last = bulk.write_counter(tmp_path / "counter", rows, city=marseille, seed=1, start=MONDAY)
    bulk.write_presence(tmp_path / "presence", rows, city=marseille, seed=1, start=MONDAY)
    assert last == MONDAY + timedelta(days=(rows - 1) // (16 * 2 * 96))
    for name, delimiter in (("pve", "\t"), ("fourriere", ";"), ("counter", ";"), ("presence", ";")):
        frame = pl.read_csv(tmp_path / name, separator=delimiter, quote_char=None, infer_schema=False)
        assert frame.height == rows
        key = {"pve": ["DI_Id"], "fourriere": ["numero_dossier"]}.get(name, frame.columns[:3])
        assert frame.select(key).n_unique() == rows
