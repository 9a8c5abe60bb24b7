"""The site of a running lake: what it reads in the registry, and how it comes into bucket docs, on the live store."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from minio import Minio
from minio.error import S3Error

from infra import database, object_store, registry
from infra.registry import Tally
from infra.settings import Settings
from stewardship.site import living, publish
from stewardship.site.facts import Facts, Living, SiloFacts
from stewardship.site.publish import BUCKET, EDITIONS, KEPT
from stewardship.watch import delivery_checks
from stewardship.watch.delivery_checks import Arrival

pytestmark = pytest.mark.live

CANARY = "AB-123-CD M. Dupont.csv"
"""A file name that tells of somebody."""


@pytest.fixture
def store(lake: Settings) -> Minio:
    """Bucket docs, emptied, as role publisher."""
    client = object_store.client(lake, "publisher")
    for edition in EDITIONS:
        for key in object_store.list_keys(client, BUCKET, f"{edition}/"):
            client.remove_object(BUCKET, key)
    return client


def site(folder: Path, text: str) -> dict[str, Path]:
    """Both editions of a small site, which differ from each other."""
    for edition in EDITIONS:
        (folder / edition / "en").mkdir(parents=True, exist_ok=True)
        (folder / edition / "index.html").write_text("choose")
        (folder / edition / "en" / "index.html").write_text(f"{text} for {edition}")
        (folder / edition / "en" / "register.csv").write_text("a,b\n")
    return {edition: folder / edition for edition in EDITIONS}


def versions(store: Minio, edition: str) -> set[str]:
    keys = object_store.list_keys(store, BUCKET, f"{edition}/")
    return {key.split("/")[1] for key in keys if key.count("/") > 1}


def test_each_role_reads_its_edition_only(lake: Settings, store: Minio, tmp_path: Path) -> None:
    publish.publish(lake, site(tmp_path / "built", "first"), {})
    for role, edition in publish.READERS.items():
        publish.copy(lake, role, tmp_path / role)
        assert (tmp_path / role / "en" / "index.html").read_text() == f"first for {edition}"
    analyst = object_store.client(lake, "analyst")
    with pytest.raises(S3Error, match=r"(?i)denied"):
        object_store.get_bytes(analyst, BUCKET, "stewards/latest.json")
    with pytest.raises(S3Error, match=r"(?i)denied"):
        list(object_store.list_keys(analyst, BUCKET, "stewards/"))
    with pytest.raises(FileExistsError, match="not empty"):
        publish.copy(lake, "analyst", tmp_path / "analyst")


def test_pages_have_their_content_type(lake: Settings, store: Minio, tmp_path: Path) -> None:
    (done, _) = publish.publish(lake, site(tmp_path, "typed"), {})
    for name, expected in (("en/index.html", "text/html"), ("en/register.csv", "text/csv")):
        found = store.stat_object(BUCKET, f"{done.edition}/{done.version}/{name}")
        assert str(found.content_type).startswith(expected)


def test_the_same_site_is_published_once(lake: Settings, store: Minio, tmp_path: Path) -> None:
    first = publish.publish(lake, site(tmp_path, "same"), {})
    again = publish.publish(lake, site(tmp_path, "same"), {})
    assert [each.is_new for each in first] == [True, True]
    assert [each.is_new for each in again] == [False, False]
    assert [each.version for each in first] == [each.version for each in again]
    assert versions(store, "site") == {first[0].version}


def test_readers_see_the_old_site_until_the_new_one_is_whole(
    lake: Settings, store: Minio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old, _) = publish.publish(lake, site(tmp_path, "old"), {})
    sent = 0
    put = object_store.put_file

    def dies(*arguments: Any, **named: Any) -> str:
        nonlocal sent
        sent += 1
        if sent > 2:
            raise ConnectionError("the store went away")
        return put(*arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(object_store, "put_file", dies)
        with pytest.raises(ConnectionError):
            publish.publish(lake, site(tmp_path, "new"), {})
    assert old.version.encode() in object_store.get_bytes(store, BUCKET, "site/index.html")
    assert publish.copy(lake, "analyst", tmp_path / "copied") == old.version
    (new, _) = publish.publish(lake, site(tmp_path, "new"), {})  # and tried again, it is
    assert new.version.encode() in object_store.get_bytes(store, BUCKET, "site/index.html")
    assert versions(store, "site") == {old.version, new.version}


def test_old_versions_go_and_an_older_site_may_come_back(lake: Settings, store: Minio, tmp_path: Path) -> None:
    made = [publish.publish(lake, site(tmp_path, f"number {number}"), {})[0].version for number in range(KEPT + 2)]
    assert versions(store, "site") == set(made[2:])
    (back, _) = publish.publish(lake, site(tmp_path, "number 5"), {})
    assert back.version == made[5]
    assert publish.copy(lake, "analyst", tmp_path / "copied") == made[5]
    assert versions(store, "site") == set(made[2:])


def test_a_site_is_current_when_it_tells_of_every_release(lake: Settings, store: Minio, tmp_path: Path) -> None:
    with database.connect(lake, "publisher", "lake") as connection:
        released = {mart: row.version for mart, row in registry.newest_releases(connection, "released").items()}
    assert not publish.is_current(lake)
    publish.publish(lake, site(tmp_path, "behind"), {**released, "another": 1})
    assert not publish.is_current(lake)
    publish.publish(lake, site(tmp_path, "current"), released)
    assert publish.is_current(lake)


# --- what is read ----------------------------------------------------------------------------------------------------


def silo(name: str, freshness: timedelta) -> SiloFacts:
    return SiloFacts(
        name=name,
        title=name,
        steward="s",
        purpose="p",
        legal_basis="l",
        recipients=(),
        landing=timedelta(days=7),
        quarantine=timedelta(days=30),
        conformed_months=13,
        privacy_unit="u",
        freshness=freshness,
        contracts=(),
        formats=(),
        rules=(),
        marts=(),
    )


def deliver(settings: Settings, name: str, number: int, *, status: str, tally: Tally) -> str:
    delivery_id = f"{name}-{number}"
    with database.connect(settings, "pipeline", "lake") as connection:
        registry.add_delivery(
            connection,
            silo=name,
            delivery_id=delivery_id,
            object_key=f"{name}/dt=2026-03-01/{delivery_id}.csv",
            file_name=CANARY,
            size=1,
            format_name=None,
            corrects=None,
        )
        if status != "landed":
            registry.settle_delivery(
                connection,
                name,
                delivery_id,
                status=status,
                reason=None if status == "committed" else f"{CANARY} cannot be read",
                format_name="pve",
                tally=tally,
                known_formats=None,
                undeclared={},
            )
    return delivery_id


def test_the_state_of_a_silo_is_what_the_registry_says(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Tally(0, 0, 0, {}, {})
    some = Tally(10, 7, 3, {"date_unreadable": 2, "plate_unusual": 1}, {"time_unknown": 4})
    for number in range(2):
        deliver(lake, "site_test", number, status="committed", tally=some)
    deliver(lake, "site_test", 2, status="refused", tally=nothing)
    newest = deliver(lake, "site_test", 3, status="landed", tally=nothing)
    declared = (
        silo("site_test", timedelta(days=1)),
        silo("site_silent", timedelta(days=1)),
    )
    facts = Facts(city="marseille", time_zone="Europe/Paris", silos=declared, marts=(), living=None)
    newest_day = datetime.now(UTC).date()

    def when(overdue: date | None) -> Living:
        """What is told when a watch of arrivals, which has tests of its own, finds this."""
        arrivals = [Arrival("site_test", newest_day, overdue, None), Arrival("site_silent", None, None, None)]
        monkeypatch.setattr(delivery_checks, "arrivals", lambda *_: arrivals)
        told = living.add(facts, lake).living
        assert told is not None
        assert CANARY not in repr(told)
        return told

    told = when(None)
    found = told.silos["site_test"]
    assert (found.state, found.waiting) == ("fresh", 1)
    assert found.recent[0].delivery_id == newest
    assert [each.status for each in found.recent] == ["landed", "refused", "committed", "committed"]
    assert (sum(each.deliveries for each in found.days), sum(each.refused for each in found.days)) == (4, 1)
    assert sum(each.rows_in or 0 for each in found.days) == 20
    assert found.by_rule == {"date_unreadable": 4, "plate_unusual": 2}
    assert found.warnings == {"time_unknown": 8}
    assert told.silos["site_silent"].state == "silent"
    assert when(newest_day).silos["site_test"].state == "late"
