"""The last delivered record is right, in whatever order deliveries are committed; readers never see half a commit."""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path

import essai
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyiceberg.catalog.sql import SqlCatalog

from infra import catalog, database, object_store, registry
from infra.settings import Settings
from ingestion.conformed import tables
from ingestion.conformed.committing import Committed, Committer
from ingestion.register import Silo
from ingestion.rows.staging import Stage

pytestmark = pytest.mark.live

Count = tuple[str, int, int]  # place, hours after midnight, people


class Bench:
    """A committer and a silo of its own; deliveries are landed by name."""

    def __init__(self, lake: Settings, scratch: Path) -> None:
        self.silo: Silo = essai.make(f"essai_{uuid.uuid4().hex[:12]}")
        self.dataset = self.silo.datasets[1]
        self.connection = database.connect(lake, "pipeline", "lake")
        self.catalog: SqlCatalog = catalog.open_catalog(lake, "pipeline")
        self.committer = Committer(lake, self.connection, self.catalog, object_store.client(lake, "pipeline"))
        self.lake = lake
        self._scratch = scratch
        self._folders = count()

    def land(self, name: str, corrects: str | None = None) -> str:
        identity = hashlib.sha256(name.encode()).hexdigest()
        registry.add_delivery(
            self.connection,
            silo=self.silo.name,
            delivery_id=identity,
            object_key="-",
            file_name=name,
            size=0,
            format_name=None,
            corrects=corrects,
        )
        self.connection.commit()
        return identity

    def commit(self, identity: str, rows: list[Count], corrects: str | None = None) -> Committed:
        folder = self._scratch / f"{self.silo.name}-{next(self._folders)}"
        for name in ("staged", "scratch"):
            (folder / name).mkdir(parents=True)
        schema = tables.file_schema(tables.ensure(self.catalog, self.dataset))
        stage = Stage(self.dataset, folder / "staged", schema, format="counts", delivery_id=identity)
        stage.add(
            pl.DataFrame(
                {
                    "row": range(1, len(rows) + 1),
                    "place_id": [place for place, _, _ in rows],
                    "direction": "in",
                    "starts_at": [essai.instant(hour) for _, hour, _ in rows],
                    "people": [people for _, _, people in rows],
                    "event_date": [essai.instant(hour).date() for _, hour, _ in rows],
                },
                schema_overrides={"starts_at": pl.Datetime("us", "UTC")},
            )
            if rows
            else pl.DataFrame()
        )
        stage.drop_duplicates()
        return self.committer.commit(
            self.dataset,
            stage.data_files(),
            silo=self.silo.name,
            delivery_id=identity,
            corrects=corrects,
            scratch=folder / "scratch",
        )

    def rows(self) -> dict[tuple[str, int], tuple[int, str]]:
        frame = essai.table(self.lake, self.dataset)
        found = {
            (place, int((at - essai.instant(0)) / timedelta(hours=1))): (people, identity)
            for place, at, people, identity in frame.select("place_id", "starts_at", "people", "delivery_id").rows()
        }
        assert len(found) == frame.height, "a key is there twice"
        return found


@contextmanager
def bench(lake: Settings, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(lake, tmp_path)
    with closing(made.connection):
        yield made


ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 60), st.integers(0, 9)), min_size=1, max_size=6)


@hypothesis_settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(ROWS, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_the_last_landed_is_right_in_whatever_order_they_are_committed(
    lake: Settings, tmp_path: Path, deliveries: list[list[Count]], chance: object
) -> None:
    with bench(lake, tmp_path) as made:
        identities = [made.land(str(number)) for number in range(len(deliveries))]
        expected: dict[tuple[str, int], tuple[int, str]] = {}
        for identity, rows in zip(identities, deliveries, strict=True):
            fresh: dict[tuple[str, int], tuple[int, str]] = {}
            for place, hour, people in rows:
                fresh.setdefault((place, hour), (people, identity))
            expected |= fresh
        order = list(zip(identities, deliveries, strict=True))
        chance.shuffle(order)  # type: ignore[attr-defined]
        for identity, rows in order:
            made.commit(identity, rows)
            again = made.commit(identity, rows)
            assert len(again.days) == len(set(again.days))
        assert made.rows() == expected
        with database.connect(lake, "steward", "lake") as connection:
            query = "select count(*) from registry.commit where silo = %s"
            assert connection.execute(query, [made.silo.name]).fetchone() == (len(deliveries),)


def test_a_corrected_delivery_that_is_committed_late_adds_nothing(lake: Settings, tmp_path: Path) -> None:
    with bench(lake, tmp_path) as made:
        wrong = made.land("wrong")
        right = made.land("right", corrects=wrong)
        made.commit(right, [("a", 1, 2)], corrects=wrong)
        late = made.commit(wrong, [("a", 1, 1), ("b", 1, 1)])
        assert late == Committed((), (), None)
        assert made.rows() == {("a", 1): (2, right)}


def test_only_the_days_concerned_are_written_again(lake: Settings, tmp_path: Path) -> None:
    with bench(lake, tmp_path) as made:
        made.commit(made.land("year"), [("a", 24 * day, 1) for day in range(40)])
        before = {task.file.file_path for task in tables.ensure(made.catalog, made.dataset).scan().plan_files()}
        done = made.commit(made.land("mend"), [("a", 24 * 7, 2), ("a", 24 * 50, 2)])
        assert done.days == (essai.instant(24 * 7).date(), essai.instant(24 * 50).date())
        after = {task.file.file_path for task in tables.ensure(made.catalog, made.dataset).scan().plan_files()}
        assert (len(before - after), len(after - before)) == (1, 2)
        assert len(made.rows()) == 41


def test_a_correction_of_a_whole_year_is_one_commit(lake: Settings, tmp_path: Path) -> None:
    with bench(lake, tmp_path) as made:
        wrong = made.land("wrong")
        made.commit(wrong, [("a", 24 * day, 1) for day in range(366)])
        right = made.land("right", corrects=wrong)
        done = made.commit(right, [("a", 24 * day, 2) for day in range(1, 366)], corrects=wrong)
        assert len(done.days) == 366
        assert set(made.rows().values()) == {(2, right)}


def test_readers_see_all_of_a_commit_or_nothing(lake: Settings, tmp_path: Path) -> None:
    with bench(lake, tmp_path) as made:
        rows = [("a", 24 * day, 0) for day in range(5)]
        previous = made.land("0")
        made.commit(previous, rows)
        seen: list[set[int]] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                seen.append({people for people, _ in made.rows().values()})

        reader = threading.Thread(target=read)
        reader.start()
        for turn in range(1, 4):
            current = made.land(str(turn), corrects=previous)
            made.commit(current, [(place, hour, turn) for place, hour, _ in rows], corrects=previous)
            previous = current
        done.set()
        reader.join()
        assert seen
        assert all(len(values) == 1 for values in seen)
