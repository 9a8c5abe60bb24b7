"""Which days a silo is complete for is declared by deliveries, and never follows from the rows that came."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import essai
import pytest

from infra import database, registry
from infra.calendar import clock
from infra.calendar.days import ranges
from infra.settings import Settings
from ingestion import pipeline, replay
from ingestion.delivery import declaring, landing, naming, notes
from ingestion.refusal import Refused
from ingestion.register import Silo, silos

JANUARY = list(clock.days(date(2025, 1, 1), date(2025, 1, 31)))
FEBRUARY = list(clock.days(date(2025, 2, 1), date(2025, 2, 28)))
ROWS = [("a", date(2025, 1, 30), 1, "P1"), ("b", date(2025, 2, 3), 2, "P2"), ("c", date(2025, 2, 3), 3, "P3")]
NO_ROWS: list[tuple[object, ...]] = []


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("tows_2025-01.csv", "2025-01-01", "2025-01-31"),
        ("PVE-2024-02.tsv.gz", "2024-02-01", "2024-02-29"),
        ("2-fourriere 2025-12.csv", "2025-12-01", "2025-12-31"),
        ("2025-01-30.csv", "2025-01-30", "2025-01-30"),
        ("counts2025-01-30", "2025-01-30", "2025-01-30"),
    ],
)
def test_a_name_that_ends_in_a_month_or_a_day_tells_it(name: str, first: str, last: str) -> None:
    found = naming.period(name)
    assert found is not None
    assert (str(found.first_day), str(found.last_day)) == (first, last)


@pytest.mark.parametrize(
    "name",
    [
        "2025-01-30_PVE.tsv",  # a day on which it was exported, perhaps
        "tows_2025-01_part1.csv",
        "tows_2025-13.csv",
        "tows_2025-02-30.csv",
        "tows_2025.csv",
        "12025-01.csv",
        "export-20250130.csv",
        "tows_2025-01.1.csv",
        "tows.csv",
    ],
)
def test_any_other_name_tells_nothing(name: str) -> None:
    assert naming.period(name) is None


@pytest.mark.parametrize(
    ("name", "month"),
    [
        ("besucherzahlen-moers-mai-2022-stundlich.csv", date(2022, 5, 1)),
        ("owi_juli_2022.csv", date(2022, 7, 1)),
        ("owi_März_2022.csv", date(2022, 3, 1)),
    ],
)
def test_german_open_data_spell_the_month(name: str, month: date) -> None:
    found = naming.german_month(name)
    assert found is not None
    assert (found.first_day, found.last_day) == (month, clock.add_months(month, 1) - timedelta(days=1))


@pytest.mark.parametrize("name", ["mai.csv", "owi_2022.csv", "mai_2022_bis_juni_2022.csv", "maibaum_2022.csv"])
def test_what_spells_no_month_or_two_tells_nothing(name: str) -> None:
    assert naming.german_month(name) is None


def test_which_formats_tell_their_period_by_name() -> None:
    assert {
        (silo.name, accepted.name): accepted.covers.__name__
        for silo in silos().values()
        for accepted in silo.formats
        if accepted.covers is not None
    } == {
        ("crowd_flows", "counter"): "period",
        ("crowd_flows", "moers"): "german_month",
        ("telecom_footfall", "presence"): "period",
        ("tows", "fourriere"): "period",
        ("verbalisations", "essen"): "german_month",
        ("verbalisations", "pve"): "period",
    }


# --- notes -----------------------------------------------------------------------------------------------------------


def note(tmp_path: Path, said: object) -> notes.Note:
    (tmp_path / "f.csv").touch()
    (tmp_path / "f.csv.delivery.json").write_text(json.dumps(said))
    return notes.read(tmp_path, tmp_path / "f.csv")


@pytest.mark.parametrize(
    "covers",
    [["2025-01-01/2025-01-30", "2025-02-01"], "2025-01-01/2025-01-30,2025-02-01", "2025-02-01, 2025-01-01/2025-01-30"],
)
def test_a_note_covers_days_and_ranges_of_days(tmp_path: Path, covers: object) -> None:
    assert note(tmp_path, {"covers": covers}).days == [*JANUARY[:-1], FEBRUARY[0]]


@pytest.mark.parametrize(
    ("covers", "sentence"),
    [
        (["January"], "'January' is neither a day (2026-01-31) nor days from the first to the last"),
        (["2025-01-31/2025-01-01"], "'2025-01-31/2025-01-01' is neither"),
        (["2025-02-30"], "'2025-02-30' is neither"),
        (["0026-10-11"], "'0026-10-11' is neither"),
        (["1999-12-31/2000-01-01"], "none before 2000"),
        (["2000-01-01/9999-12-31"], "more than 3,660 days are covered"),
        (7, "covers: "),
        ([["2025-01-01"]], "covers.0: "),
    ],
)
def test_what_covers_no_days_is_refused_with_a_sentence(tmp_path: Path, covers: object, sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        note(tmp_path, {"covers": covers})
    assert refused.value.rule == "note_unreadable"
    assert sentence in refused.value.sentence


# --- on a live lake --------------------------------------------------------------------------------------------------


@pytest.fixture
def silo() -> Silo:
    return essai.make(f"essai_{uuid.uuid4().hex[:12]}")


def covered(lake: Settings, silo: Silo) -> frozenset[date]:
    with database.connect(lake, "steward", "lake") as connection:
        return registry.covered_days(connection, [silo.name])[silo.name]


def row(lake: Settings, silo: Silo, content: bytes) -> registry.DeliveryRow:
    with database.connect(lake, "steward", "lake") as connection:
        found = registry.delivery(connection, silo.name, hashlib.sha256(content).hexdigest())
    assert found is not None
    return found


def ingest(lake: Settings, silo: Silo) -> landing.Sweep:
    with essai.registered(silo):
        swept = landing.sweep(lake, silo.name)
        pipeline.ingest(lake, silo.name)
    return swept


def deliver(
    lake: Settings, silo: Silo, name: str, rows: list[tuple[object, ...]] = ROWS, covers: tuple[str, ...] = ()
) -> bytes:
    content = essai.csv(essai.RECORDS, rows)
    with essai.registered(silo):
        essai.deliver(lake, silo.name, name, content, covers=covers)
    return content


@pytest.mark.live
def test_a_delivery_declares_the_days_of_its_note_when_it_is_committed(lake: Settings, silo: Silo) -> None:
    content = deliver(lake, silo, "rows.csv", covers=("2025-01-01/2025-01-31",))
    with essai.registered(silo):
        landing.sweep(lake, silo.name)
    assert covered(lake, silo) == frozenset()  # it was not read yet
    ingest(lake, silo)
    assert covered(lake, silo) == frozenset(JANUARY)
    receipt = essai.receipt(lake, silo.name, hashlib.sha256(content).hexdigest())
    assert receipt["covers"] == [str(day) for day in JANUARY]
    assert receipt["undeclared"] == row(lake, silo, content).undeclared == {"2025-02-03": 2}
    assert receipt["accepted"] == 3  # they are accepted all the same


@pytest.mark.live
def test_a_name_declares_its_month_whatever_rows_there_are(lake: Settings, silo: Silo) -> None:
    content = deliver(lake, silo, "records_2025-02.csv")
    ingest(lake, silo)
    assert covered(lake, silo) == frozenset(FEBRUARY)
    assert row(lake, silo, content).undeclared == {"2025-01-30": 1}


@pytest.mark.live
def test_a_month_that_was_not_over_when_its_file_landed_is_not_declared(lake: Settings, silo: Silo) -> None:
    in_february = lake.model_copy(update={"now": datetime(2025, 2, 28, 22, 59, tzinfo=UTC)})
    deliver(in_february, silo, "records_2025-02.csv")
    ingest(in_february, silo)
    assert covered(lake, silo) == frozenset()
    at_midnight = lake.model_copy(update={"now": datetime(2025, 2, 28, 23, 1, tzinfo=UTC)})  # in Marseille
    deliver(at_midnight, silo, "records_2025-02.csv", [*ROWS, ("d", date(2025, 2, 28), 4, "P4")])
    ingest(at_midnight, silo)
    assert covered(lake, silo) == frozenset(FEBRUARY)


@pytest.mark.live
def test_nobody_declares_a_day_that_is_not_over(lake: Settings, silo: Silo) -> None:
    today = str(declaring.local_day(lake, clock.now(lake)))
    with pytest.raises(Refused, match=f"complete for {today}, and that day is not over"):
        deliver(lake, silo, "rows.csv", covers=(today,))
    folder = lake.drop_dir / silo.name
    (folder / "rows.csv").write_bytes(essai.csv(essai.RECORDS, ROWS))
    (folder / "rows.csv.delivery.json").write_text(json.dumps({"covers": [today]}))
    assert [refused.rule for refused in ingest(lake, silo).turned_away] == ["covers_too_early"]
    assert covered(lake, silo) == frozenset()


@pytest.mark.live
def test_what_is_refused_declares_nothing(lake: Settings, silo: Silo) -> None:
    with essai.registered(silo):
        essai.deliver(lake, silo.name, "other_2025-01.csv", b"what,is,this\n1,2,3\n", covers=("2025-02-01",))
    ingest(lake, silo)
    assert covered(lake, silo) == frozenset()


@pytest.mark.live
def test_days_of_nothing_are_declared_by_equal_files_of_other_names(lake: Settings, silo: Silo) -> None:
    """The files of two days without rows have the same bytes: the second is no delivery, but it declares its day."""
    content = deliver(lake, silo, "records_2025-01-30.csv", NO_ROWS)
    deliver(lake, silo, "records_2025-01-31.csv", NO_ROWS)
    ingest(lake, silo)
    assert covered(lake, silo) == frozenset(JANUARY[-2:])
    deliver(lake, silo, "records_2025-02-01.csv", NO_ROWS)
    (landed,) = ingest(lake, silo).landed
    assert landed.outcome == "again"
    assert "is now declared: 2025-02-01" in landed.sentence
    assert covered(lake, silo) == frozenset([*JANUARY[-2:], FEBRUARY[0]])
    assert row(lake, silo, content).rows_in == 0


@pytest.mark.live
def test_rows_that_come_again_under_the_name_of_another_month_do_not_declare_it(lake: Settings, silo: Silo) -> None:
    """A copy of January that was called February by mistake would publish a month of nothing."""
    deliver(lake, silo, "records_2025-01.csv")
    deliver(lake, silo, "records_2025-02.csv")
    ingest(lake, silo)
    deliver(lake, silo, "records_2025-02.csv")
    ingest(lake, silo)
    assert covered(lake, silo) == frozenset(JANUARY)


@pytest.mark.live
def test_what_was_forgotten_is_said_by_delivering_it_again(lake: Settings, silo: Silo) -> None:
    deliver(lake, silo, "rows.csv")
    ingest(lake, silo)
    assert covered(lake, silo) == frozenset()
    deliver(lake, silo, "rows.csv", covers=("2025-02-01/2025-02-28",))
    (landed,) = ingest(lake, silo).landed
    assert landed.outcome == "again"
    assert landed.declares == frozenset(FEBRUARY)
    assert covered(lake, silo) == frozenset(FEBRUARY)


@pytest.mark.live
def test_a_replay_does_not_declare_again_what_was_taken_back(lake: Settings, silo: Silo) -> None:
    content = deliver(lake, silo, "rows.csv", covers=("2025-01-01/2025-02-28",))
    ingest(lake, silo)
    with database.connect(lake, "publisher", "lake") as connection:
        registry.declare(
            connection,
            silo.name,
            FEBRUARY,
            source="steward",
            said_by="tests",
            said_at=datetime.now(UTC),
            covers=False,
        )
    with essai.registered(silo):
        replay.replay(lake, silo.name, hashlib.sha256(content).hexdigest(), "to be sure", "tests")
    ingest(lake, silo)
    assert ranges(covered(lake, silo)) == ranges(JANUARY)
    assert row(lake, silo, content).undeclared == {"2025-02-03": 2}
