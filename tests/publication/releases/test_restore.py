"""A lake with deliveries and releases, its backup, and an empty lake that becomes it: nothing differs."""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import psycopg
import pytest
import tampering
from lakes import drill
from released import everything, in_bi, in_files

from infra import catalog, database, object_store
from infra.calendar.trusted_clock import ClockDoubtedError
from infra.keys.store import open_keys
from infra.machines.backup import mending, restoring, saving
from infra.machines.backup.manifest import BackupError, Manifest
from infra.machines.services import lake as services
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import landing
from publication import report
from publication.builds import building
from publication.contracts import CONTRACTS
from publication.releases import release, verifying
from publication.releases import restored as restored_lake
from stewardship import erasure
from stewardship.retention import job
from tests.stewardship.retention import city_hall as city

pytestmark = [pytest.mark.live, pytest.mark.slow]

LOCKS = (job.LOCK, building.LOCK, release.LOCK)
PLATES = ("AA-501-RS", "BB-502-RS", "CC-503-RS")


@contextmanager
def started(prefix: str) -> Iterator[Settings]:
    """A lake of its own, whatever else runs."""
    home = Path(tempfile.mkdtemp(prefix=prefix))
    home.chmod(0o755)
    settings = drill(home)
    try:
        services.up(settings, airflow=False)
        yield settings
    finally:
        services.down(settings)
        shutil.rmtree(home, ignore_errors=True)


def state(settings: Settings) -> dict[str, object]:
    """All that can be read of a lake: releases by every way to them, tables, registry, ledger, keys, receipts."""
    with database.connect(settings, "analyst", "bi", autocommit=True) as analyst:
        found = everything(settings, analyst)
    with database.connect(settings, "steward", "lake") as connection:
        for table in ("delivery", "commit"):
            found[table] = connection.execute(f"select * from registry.{table} order by seq").fetchall()
        lines = "select seq, recorded_at, kind, body, previous, hash from ledger.line order by seq"
        found["lines"] = connection.execute(lines).fetchall()
    tables = catalog.open_catalog(settings, "pipeline")
    for identifier in tables.list_tables("conformed"):
        table = tables.load_table(identifier)
        found[f"{identifier}"] = (
            table.metadata_location,
            [snapshot.snapshot_id for snapshot in table.snapshots()],
            pl.DataFrame(table.scan().to_arrow()).sort(pl.all()).rows(),
        )
    store = object_store.client(settings, "admin")
    for bucket in ("receipts", "quarantine", "docs", "lake"):
        for key in object_store.list_keys(store, bucket):
            found[f"{bucket}/{key}"] = object_store.get_bytes(store, bucket, key)
    found["keys"] = [
        (key.silo, key.month, key.alive, key.alive and open_keys(settings).get_or_create(key.silo, key.month))
        for key in open_keys(settings).states()
    ]
    return found


def test_an_empty_lake_becomes_the_one_that_was_saved(tmp_path: Path) -> None:
    today, place, keys = city.today(), tmp_path / "backups", tmp_path / "keys"
    fines = [city.fine(today, plate) for plate in PLATES]
    with started("calanque-saved-") as lake:
        [first] = city.deliver(lake, "verbalisations", fines, tmp_path / "sent")
        open_keys(lake).destroy("tows", "2020-01")
        open_keys(lake).get_or_create("tows", "2020-02")  # made late, to load history: it lives a day
        first_backup = saving.backup(lake, place, keys, locks=LOCKS)
        tampering.publish(lake, tmp_path)
        city.deliver(lake, "tows", [city.tow(today, PLATES[0])], tmp_path / "sent")
        city.drop(lake, "tows", [city.tow(today, PLATES[1])], tmp_path / "sent")  # landed, and not read yet
        saved = saving.backup(lake, place, keys, locks=LOCKS)
        assert 0 < saved.copied < saved.objects  # only what is new is read
        assert (first_backup.backups, saved.backups) == (1, 2)
        expected = state(lake)
        erased = city.pseudonym(lake, "verbalisations", "BB502RS", today)
        made = {key.month: key.created for key in open_keys(lake).states() if key.alive}
        assert verifying.verify(lake).breaks == ()

        with pytest.raises(BackupError, match=r"not empty \(registry.delivery has rows\)"):
            restoring.restore(lake, place, keys)
        assert state(lake) == expected

        # Nothing delivered that was read, and no key, is among the data; and only its owner may read it.
        manifest = Manifest.read(saved.folder)
        assert [each.bucket for each in manifest.objects].count("landing") == 1
        kept = [path for path in place.rglob("*") if path.is_file()]
        for key in open_keys(lake).states():
            if key.alive:
                secret = open_keys(lake).get_or_create(key.silo, key.month)
                assert not any(secret in path.read_bytes() for path in kept)
        for path in (place, keys, *keys.rglob("*")):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
        assert erasure.erase(lake, PLATES[1], run="after the backup").mirrored

    with started("calanque-restored-") as lake:
        damaged = next(path for path in (place / "objects").rglob("*") if path.is_file())
        whole = damaged.read_bytes()
        damaged.write_bytes(b"x" * len(whole))
        with pytest.raises(BackupError, match="are missing or were changed"):
            restoring.restore(lake, place, keys)
        damaged.write_bytes(whole)
        with pytest.raises(BackupError, match="holds no backup of keys"):
            restoring.restore(lake, place, tmp_path / "elsewhere")

        # A clock a month later than the backup would have its keys destroyed: it takes a person to say so.
        ahead = lake.model_copy(update={"now_file": tmp_path / "clock"})
        (tmp_path / "clock").write_text((datetime.now(UTC) + timedelta(days=31)).isoformat())
        with pytest.raises(ClockDoubtedError, match="say what day it is by --today"):
            restoring.restore(ahead, place, keys)
        with pytest.raises(ClockDoubtedError, match="set it by NTP first"):
            restoring.restore(ahead, place, keys, today=today)

        restored = restoring.restore(lake, place, keys)
        for path in (lake.keys_dir, *lake.keys_dir.rglob("*")):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
        assert restored.objects == saved.objects
        assert state(lake) == expected
        assert {key.month: key.created for key in open_keys(lake).states() if key.alive} == made
        assert verifying.verify(lake).breaks == ()
        with database.connect(lake, "analyst", "bi", autocommit=True) as analyst:
            for mart in tampering.MARTS:
                assert in_bi(analyst, CONTRACTS[mart]).equals(in_files(lake, CONTRACTS[mart], 1))
            with pytest.raises(psycopg.Error):
                analyst.execute("delete from marts.release_info")

        # Life goes on: what was delivered before is known (its bytes, which no backup has, land again and are not
        # read), what waited is read, what is new gets the same names.
        again = landing.drop(lake, "verbalisations", tmp_path / "sent" / first.file_name)
        assert [landed.outcome for landed in landing.sweep(lake, "verbalisations").landed] == ["restored"]
        assert not again.exists()
        assert pipeline.ingest(lake, "verbalisations") == []
        [waited] = pipeline.ingest(lake, "tows")
        assert (waited.status, waited.tally.by_rule) == ("committed", {"erased": 1})  # after the backup, and known
        assert erased in set(city.rows(lake, "verbalisations")["vehicle"])
        assert job.run(lake, run_id="restore").overdue == ()
        assert erased not in set(city.rows(lake, "verbalisations")["vehicle"])
        fines = city.rows(lake, "verbalisations")
        before = set(city.rows(lake, "verbalisations")["vehicle"])
        city.deliver(lake, "verbalisations", [city.fine(today, PLATES[0])], tmp_path / "sent")
        fines_now = city.rows(lake, "verbalisations")
        assert fines_now.height == len(fines) + 1
        assert set(fines_now["vehicle"]) == before
        # What the lake before may have published after the backup waits for a person's word.
        tampering.publish(lake, tmp_path, "b2", first_day=tampering.APRIL)
        assert all("may have been published by the lake before" in why for why in report.held_back(lake).values())
        assert set(report.held_back(lake)) == set(tampering.MARTS)
        assert verifying.verify(lake).book.unit(tampering.MARTS[0], tampering.APRIL) is None
        restored_lake.settle(lake, by="test", reason="it was stopped before the backup")
        tampering.publish(lake, tmp_path, "b3", first_day=tampering.APRIL)
        assert report.held_back(lake) == {}
        assert verifying.verify(lake).book.unit(tampering.MARTS[0], tampering.APRIL) is not None
        assert verifying.verify(lake).breaks == ()


def test_a_backup_forgets_what_the_lake_forgets(tmp_path: Path, clean_lake: Settings) -> None:
    """Old backups go, what nobody names any more goes, and deliveries go when their own time is over."""
    lake = clean_lake
    place, keys = tmp_path / "backups", tmp_path / "keys"
    sent = tmp_path / "sent"
    city.drop(lake, "tows", [city.tow(city.today(), "DD-504-RS")], sent)
    identity, _ = object_store.digest_file(next(sent.iterdir()))
    open_keys(lake).get_or_create("tows", "2024-05")
    first = saving.backup(lake, place, keys, locks=LOCKS)
    [delivery] = [each for each in Manifest.read(first.folder).objects if identity in each.key]
    assert delivery.sha256 == identity
    assert (place / "objects" / identity[:2] / identity).exists()
    assert (keys / "keys" / "tows" / "2024-05.key").exists()
    pipeline.ingest(lake, "tows")
    open_keys(lake).destroy("tows", "2024-05")

    later = city.at(lake, city.today() + timedelta(days=7))  # the first backup may stay, the delivery may not
    second = saving.backup(later, place, keys, locks=LOCKS, keep=timedelta(days=8))
    assert second.backups == 2
    assert not (place / "objects" / identity[:2] / identity).exists()
    assert list(restoring.check(later, place, first.folder)) == []  # it is not missed: its time is over
    assert not (keys / "keys" / "tows" / "2024-05.key").exists()
    assert (keys / "keys" / "tows" / "2024-05.destroyed").exists()

    last = saving.backup(city.at(lake, city.today() + timedelta(days=9)), place, keys, locks=LOCKS)
    assert last.backups == 2
    assert not first.folder.exists()


def test_a_backup_keeps_the_bytes_and_keys_of_before_when_others_are_in_their_place(
    tmp_path: Path, clean_lake: Settings
) -> None:
    lake, place, keys = clean_lake, tmp_path / "backups", tmp_path / "keys"
    city.deliver(lake, "tows", [city.tow(city.today(), "EE-505-RS")], tmp_path / "sent")
    assert saving.backup(lake, place, keys, locks=LOCKS).changed == ()
    store = object_store.client(lake, "admin")
    [key] = object_store.list_keys(store, "lake", "conformed/tows/data/")
    right = object_store.get_bytes(store, "lake", key)
    object_store.put_bytes(store, "lake", key, bytes(len(right)))
    month = f"tows/{city.today():%Y-%m}.key"
    secret = (lake.keys_dir / month).read_bytes()
    (lake.keys_dir / month).write_bytes(bytes(32))
    try:
        saved = saving.backup(lake, place, keys, locks=LOCKS, keep=timedelta(0))
        assert saved.changed == (f"s3://lake/{key}",)
        assert [sentence for sentence in saved.wrong_keys if "of silo tows for" in sentence]
        assert (keys / "keys" / month).read_bytes() == secret
    finally:
        (lake.keys_dir / month).write_bytes(secret)
    assert mending.mend(lake, place).done == (f"s3://lake/{key}",)
    assert object_store.get_bytes(store, "lake", key) == right
    again = saving.backup(lake, place, keys, locks=LOCKS)
    assert (again.changed, again.wrong_keys) == ((), ())


def test_keys_are_not_kept_among_the_data(tmp_path: Path, lake: Settings) -> None:
    with pytest.raises(BackupError, match="a folder of its own"):
        saving.backup(lake, tmp_path, tmp_path / "keys", locks=LOCKS)
