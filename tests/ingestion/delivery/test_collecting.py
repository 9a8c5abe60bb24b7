"""Deliveries put into the object store: each lands once, whatever its name, and nothing that was put is lost."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import essai
import pytest
from minio import Minio

from infra import object_store
from infra.machines.provisioning import admit_deliverer
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import collecting, landing
from ingestion.delivery.collecting import Put
from ingestion.register import Silo

pytestmark = pytest.mark.live


@pytest.fixture
def silo(lake: Settings) -> Iterator[Silo]:
    """A silo with a partner, whom the store does not know: tests put as its administrator."""
    silo = essai.make(f"essai_{uuid.uuid4().hex[:12]}")
    admit_deliverer(lake, silo.name)
    yield silo
    (lake.secrets_dir / f"s3-deliver-{silo.name}").unlink()


@pytest.fixture
def store(lake: Settings) -> Minio:
    return object_store.client(lake, "admin")


def records(*numbers: int) -> bytes:
    return essai.csv(essai.RECORDS, [(f"r{number}", essai.day(0), number, f"P{number}") for number in numbers])


def put(store: Minio, silo: Silo, name: str, content: bytes, **metadata: str) -> str:
    """Its delivery id."""
    said: dict[str, str | list[str] | tuple[str]] = dict(metadata)
    store.put_object("drop", f"{silo.name}/{name}", io.BytesIO(content), len(content), metadata=said or None)
    return hashlib.sha256(content).hexdigest()


def test_what_was_put_is_ingested_once_and_gone_from_the_bucket(lake: Settings, silo: Silo, store: Minio) -> None:
    first = put(store, silo, "a.csv", records(1, 2))
    with essai.registered(silo):
        [landed] = landing.sweep(lake, silo.name).landed
        assert (landed.delivery_id, landed.file_name, landed.outcome) == (first, "a.csv", "new")
        assert [receipt.status for receipt in pipeline.ingest(lake, silo.name)] == ["committed"]
        assert sorted(essai.table(lake, silo.datasets[0])["record"]) == ["r1", "r2"]
        assert list(store.list_objects("drop", prefix=f"{silo.name}/", recursive=True, include_version=True)) == []

        # The same again changes nothing; a correction says so in its metadata.
        put(store, silo, "again.csv", records(1, 2))
        assert [each.outcome for each in landing.sweep(lake, silo.name).landed] == ["again"]
        put(store, silo, "b.csv", records(3), corrects=first)
        assert landing.sweep(lake, silo.name).landed
        pipeline.ingest(lake, silo.name)
        assert sorted(essai.table(lake, silo.datasets[0])["record"]) == ["r3"]
        put(store, silo, "c.csv", records(4), corrects="yesterday's")
        [refused] = landing.sweep(lake, silo.name).turned_away
        assert refused.rule == "note_unreadable"


def test_an_object_put_over_another_hides_it_and_loses_nothing(lake: Settings, silo: Silo, store: Minio) -> None:
    sent = [put(store, silo, "a.csv", records(number)) for number in (1, 2)]
    with essai.registered(silo):
        assert {landed.delivery_id for landed in landing.sweep(lake, silo.name).landed} == set(sent)


def test_killed_between_taking_and_deleting_it_comes_again(
    lake: Settings, silo: Silo, store: Minio, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = put(store, silo, "a.csv", records(1))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with essai.registered(silo):
        with monkeypatch.context() as patch:
            patch.setattr(collecting, "take_away", die)
            with pytest.raises(KeyboardInterrupt):
                landing.sweep(lake, silo.name)
        landed = landing.sweep(lake, silo.name).landed
        assert [(each.delivery_id, each.outcome) for each in landed] == [(sent, "new"), (sent, "again")]
        assert collecting.waiting(lake, silo.name) == []


def test_without_a_partner_nobody_looks(lake: Settings) -> None:
    assert collecting.waiting(lake, f"essai_{uuid.uuid4().hex[:12]}") == []
    assert collecting.waiting(lake.model_copy(update={"secrets": lake.home / "nowhere"}), "tows") == []


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("tows/a.csv", "a.csv"),
        ("tows/2026/11/a.csv", "a.csv"),
        ("tows/../../etc/passwd", "passwd"),
        ("tows/.hidden", "hidden"),
        ("tows/a.csv.part", "a.csv"),
        ("tows/a.csv.delivery.json", "a.csv.delivery"),
        ("tows/...part", "delivery"),
        ("tows/a\n\x00b\\c.csv", "a__b_c.csv"),
        (f"tows/{'é' * 500}.csv", f"{'é' * 98}.csv"),
    ],
)
def test_names_are_safe_in_a_folder(key: str, name: str) -> None:
    assert Put(datetime.now(UTC), key, "1").file_name == name
