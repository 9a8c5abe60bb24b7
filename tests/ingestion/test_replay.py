"""A delivery conformed again after a mistake of ours was mended: each row in the table once, history kept."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from unittest import mock

import essai
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from infra import database, object_store, registry
from infra.city.profile import City
from infra.settings import Settings
from ingestion import pipeline, replay
from ingestion.conformed import committing
from ingestion.delivery import landing
from ingestion.formats.format import Format
from ingestion.refusal import Refused
from ingestion.register import Silo
from ingestion.rows.pseudonyms import Pseudonymiser
from stewardship import review

pytestmark = pytest.mark.live

UNLUCKY = 13  # a value that the silo's code refuses until it is mended
Row = tuple[int, int, int]  # record, day number, value


def new_silo() -> Silo:
    return essai.make(f"essai_{uuid.uuid4().hex[:12]}")


def mended(silo: Silo) -> Silo:
    """The same silo, once its code knows that 13 is a value like others, and 1 is not."""
    broken = silo.datasets[0]

    def conform(rows: pl.DataFrame, accepted: Format, city: City, pseudonymiser: Pseudonymiser) -> pl.DataFrame:
        lines = broken.contract().conform(rows, accepted, city, pseudonymiser)
        return lines.with_columns(reject=pl.when(pl.col("value") == 1).then(pl.lit("too_small")))

    return replace(silo, datasets=(essai.changed(broken, conform=conform), *silo.datasets[1:]))


@contextmanager
def registered(silo: Silo) -> Iterator[None]:
    with essai.registered(silo), mock.patch.object(replay, "silos", return_value={silo.name: silo}):
        yield


def content(rows: list[Row]) -> bytes:
    return essai.csv(essai.RECORDS, [(f"r{r}", essai.day(d), v, None) for r, d, v in rows])


def delivered(lake: Settings, silo: Silo, *files: list[Row]) -> list[str]:
    """Deliver and ingest files; their ids."""
    for number, rows in enumerate(files):
        essai.deliver(lake, silo.name, f"{number}.csv", content(rows))
        landing.sweep(lake, silo.name)
        pipeline.ingest(lake, silo.name)
    return [hashlib.sha256(content(rows)).hexdigest() for rows in files]


def rows_of(lake: Settings, silo: Silo) -> list[tuple[str, date, int, str]]:
    frame = essai.table(lake, silo.datasets[0]).select("record", "event_date", "value", "delivery_id")
    return sorted(frame.rows())


def known(lake: Settings, silo: Silo, delivery: str) -> registry.DeliveryRow:
    with database.connect(lake, "pipeline", "lake") as connection:
        found = registry.delivery(connection, silo.name, delivery)
    assert found is not None
    return found


def again(lake: Settings, silo: Silo, delivery: str) -> None:
    """Replay as the command does."""
    replay.replay(lake, silo.name, delivery, "thirteen is a value", "essai")
    pipeline.ingest(lake, silo.name)


def test_what_was_quarantined_is_accepted_once_and_what_was_accepted_stays_once(lake: Settings) -> None:
    silo = new_silo()
    with registered(silo):
        first, second = delivered(lake, silo, [(1, 0, 5), (2, 0, UNLUCKY), (3, 1, UNLUCKY)], [(3, 1, 8)])
        before = known(lake, silo, first)
        assert (before.accepted, before.quarantined, before.by_rule) == (1, 2, {"unlucky": 2})
        newest = pipeline.newest_commit(lake, silo.name)
    with registered(mended(silo)):
        assert replay.replay(lake, silo.name, first[:10], "thirteen is a value", "essai") == "committed"
        assert replay.replay(lake, silo.name, first[:10], "twice", "essai") == "landed"
        [receipt] = pipeline.ingest(lake, silo.name)
        assert receipt.status == "committed"
        # The second delivery came later: of record 3 it still has the last word.
        day, later = essai.day(0), essai.day(1)
        assert rows_of(lake, silo) == [("r1", day, 5, first), ("r2", day, UNLUCKY, first), ("r3", later, 8, second)]
        after = known(lake, silo, first)
        assert (after.rows_in, after.accepted, after.quarantined, after.by_rule) == (3, 3, 0, {})
        assert (after.status, after.replays, after.seq) == ("committed", 1, before.seq)
        assert pipeline.newest_commit(lake, silo.name) > newest  # so that what is published hears of it
        assert pipeline.changed_days(lake, silo.name, since=newest) == [day]

        stored = essai.receipt(lake, silo.name, first)
        assert stored["accepted"] == 3
        [earlier] = stored["replays"]
        assert (earlier["number"], earlier["reason"], earlier["asked_by"]) == (1, "thirteen is a value", "essai")
        assert (earlier["before"]["accepted"], earlier["before"]["by_rule"]) == (1, {"unlucky": 2})

        again(lake, silo, first)
        assert len(rows_of(lake, silo)) == 3
        assert [replayed["number"] for replayed in essai.receipt(lake, silo.name, first)["replays"]] == [1, 2]
        assert all("replays" not in each["before"] for each in essai.receipt(lake, silo.name, first)["replays"])


@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 4), st.sampled_from([1, 2, UNLUCKY])),
            min_size=1,
            max_size=5,
            unique_by=lambda r: r[0],
        ),
        min_size=1,
        max_size=4,
        unique_by=tuple,
    ),
    st.lists(st.integers(0, 3), max_size=4),
)
@hypothesis_settings(
    max_examples=3, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_replays_in_any_order_leave_what_a_model_has(
    lake: Settings, deliveries: list[list[tuple[int, int]]], replayed: list[int]
) -> None:
    """Of each record, the newest delivery that has it, by the code that conformed that delivery last."""
    silo = new_silo()
    files = [[(record, record % 3, value) for record, value in rows] for rows in deliveries]
    with registered(silo):
        ids = delivered(lake, silo, *files)
    chosen = [number for number in replayed if number < len(files)]
    with registered(mended(silo)):
        for number in chosen:
            again(lake, silo, ids[number])
    expected: dict[str, tuple[str, date, int, str]] = {}
    for number, (rows, identity) in enumerate(zip(files, ids, strict=True)):
        refused = 1 if number in chosen else UNLUCKY
        for record, day, value in rows:
            if value != refused:
                expected[f"r{record}"] = (f"r{record}", essai.day(day), value, identity)
    # A row that a replayed delivery had replaced, and holds no more, does not come back by itself.
    found = rows_of(lake, silo)
    assert len({record for record, *_ in found}) == len(found)
    taken_back = {f"r{record}" for number in chosen for record, _, value in files[number] if value == 1}
    assert {row for row in found if row[0] not in taken_back} == {
        row for record, row in expected.items() if record not in taken_back
    }


def test_killed_after_the_table_and_before_the_registry_it_is_finished_by_the_next_run(
    lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    silo = new_silo()
    with registered(silo):
        [first] = delivered(lake, silo, [(1, 0, 5), (2, 0, UNLUCKY)])
    with registered(mended(silo)):
        replay.replay(lake, silo.name, first, "thirteen is a value", "essai")

        def killed(*_: object, **__: object) -> None:
            raise ConnectionError("killed")

        monkeypatch.setattr(committing.registry, "renew_commit", killed)
        with pytest.raises(pipeline.IngestionError):
            pipeline.ingest(lake, silo.name)
        assert len(rows_of(lake, silo)) == 2  # the table has it
        monkeypatch.undo()
    with registered(mended(silo)):
        [receipt] = pipeline.ingest(lake, silo.name)
        assert receipt.tally.accepted == 2
        assert len(rows_of(lake, silo)) == 2
        assert known(lake, silo, first).status == "committed"


def test_a_replay_that_is_refused_leaves_everything_as_it_was(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    silo = new_silo()
    with registered(silo):
        [first] = delivered(lake, silo, [(1, 0, 5), (2, 0, UNLUCKY)])
        stored, rows = essai.receipt(lake, silo.name, first), rows_of(lake, silo)

        def refuse(*_: object, **__: object) -> None:
            raise Refused("unreadable", "0.csv", "today nobody can read it", "Deliver another")

        monkeypatch.setattr(pipeline, "open_delivery", refuse)
        replay.replay(lake, silo.name, first, "a try", "essai")
        [receipt] = pipeline.ingest(lake, silo.name)
    assert receipt.status == "refused"
    after = known(lake, silo, first)
    assert (after.status, after.accepted, after.quarantined) == ("committed", 1, 1)
    assert str(after.reason).startswith("replay 1 was not made: 0.csv: today nobody can read it")
    assert essai.receipt(lake, silo.name, first) == stored
    assert rows_of(lake, silo) == rows


def test_parked_and_refused_deliveries_are_tried_again(lake: Settings) -> None:
    silo = new_silo()
    with registered(silo), mock.patch.object(pipeline, "conform", side_effect=ValueError("a mistake of ours")):
        [first] = delivered(lake, silo, [(1, 0, 5)])
        assert known(lake, silo, first).status == "parked"
    with registered(silo):
        assert replay.replay(lake, silo.name, first) == "parked"
        pipeline.ingest(lake, silo.name)
        assert known(lake, silo, first).status == "committed"
    whole = new_silo()
    blind = replace(whole, accepts=tuple)
    silo = replace(whole, datasets=tuple(replace(each, version="1.1.0") for each in whole.datasets))
    strange = content([(7, 0, 5)])
    with registered(blind):
        essai.deliver(lake, silo.name, "strange.csv", strange)
        landing.sweep(lake, silo.name)
        pipeline.ingest(lake, silo.name)
    second = hashlib.sha256(strange).hexdigest()
    assert known(lake, silo, second).status == "refused"
    with registered(silo):
        assert replay.replay(lake, silo.name, second) == "refused"
        pipeline.ingest(lake, silo.name)
    assert known(lake, silo, second).status == "committed"


def test_what_cannot_be_replayed_is_said(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    silo = new_silo()
    with registered(silo):
        [first] = delivered(lake, silo, [(1, 0, 5)])
        with pytest.raises(replay.ReplayError, match="there is no silo 'nothing'"):
            replay.replay(lake, "nothing", first)
        with pytest.raises(replay.ReplayError, match="no delivery begins with 'ffff'"):
            replay.replay(lake, silo.name, "ffff")
        monkeypatch.setattr(object_store, "exists", lambda *_: False)
        with pytest.raises(replay.ReplayError, match=r"0\.csv: the bytes of delivery .* are no longer kept.*delivered"):
            replay.replay(lake, silo.name, first)
        monkeypatch.undo()
    with registered(silo):
        essai.deliver(lake, silo.name, "right.csv", content([(1, 0, 6)]), corrects=first)
        landing.sweep(lake, silo.name)
        pipeline.ingest(lake, silo.name)
        with pytest.raises(replay.ReplayError, match="was corrected by another"):
            replay.replay(lake, silo.name, first)


def test_a_steward_sees_rules_and_row_numbers_and_no_value(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    silo = new_silo()
    with registered(silo):
        [first] = delivered(lake, silo, [(1, 0, -5), (2, 0, UNLUCKY), (3, 0, 5), (4, 0, UNLUCKY), (5, 0, 7)])
    monkeypatch.setattr(review, "silos", lambda: {silo.name: silo})
    with database.connect(lake, "steward", "lake") as connection:
        [listed] = review.deliveries(connection, silo.name)
    assert (listed["delivery"], listed["quarantined"], listed["rows_in"]) == (first, 3, 5)
    found = review.rules(lake, silo.name, first, None, most=1, first_row=2)
    assert found.select("rule", "severity", "rows", "row_numbers").rows() == [
        ("unlucky", "error", 2, [3]),
        ("value_negative", "error", 1, [2]),
        ("lucky", "warning", 1, [6]),
    ]
    assert found["meaning"][0] == "Thirteen is refused. Deliver another."
    assert review.rules(lake, silo.name, first, "unlucky", most=9, first_row=2)["row_numbers"].to_list() == [[3, 5]]
    assert review.rules(lake, silo.name, "0" * 64, None, most=9, first_row=2).is_empty()
