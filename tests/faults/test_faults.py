"""Each row of docs/operations/failure-matrix.md, caused: what users are told, and that nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tampering
from full_disk import fill, small_disk

from infra import catalog, compute, database, object_store, registry
from infra.calendar import trusted_clock
from infra.calendar.clock import add_months
from infra.machines.backup import mending, saving
from infra.machines.backup.manifest import Manifest, folders
from infra.machines.services import lake as services
from infra.settings import Settings
from infra.transient import disk_full, explained, transient
from ingestion import pipeline
from ingestion.conformed import lost_files
from ingestion.delivery import landing
from privacy import key_duty, ledger
from publication.builds import building
from publication.releases import release, renewing, verifying
from stewardship import alerts
from stewardship.retention import job
from stewardship.watch import watch
from tests.faults import city
from tests.faults.conftest import Row
from tests.ingestion import essai
from tests.stewardship.retention import city_hall

pytestmark = [pytest.mark.live, pytest.mark.slow]

LOCKS = (job.LOCK, building.LOCK, release.LOCK)


def silo() -> essai.Silo:
    return essai.make(f"essai_{uuid.uuid4().hex[:12]}")


def published(lake: Settings, tmp_path: Path) -> None:
    """Three marts of one month, once."""
    with database.connect(lake, "steward", "lake") as connection:
        if connection.execute("select from registry.release").fetchone() is None:
            tampering.publish(lake, tmp_path)


def rows_in_bi(lake: Settings) -> int:
    with database.connect(lake, "analyst", "bi") as connection:
        row = connection.execute("select count(*) from marts.fines_by_day").fetchone()
    return int(row[0]) if row else 0


def rows_in_files(lake: Settings) -> int:
    with compute.connect(lake, "analyst") as connection:
        row = connection.execute("select count(*) from 's3://lake/releases/fines_by_day/*/*.parquet'").fetchone()
    return int(row[0]) if row else 0


def sentence(said: str) -> str:
    """The line of an answer that says what is wrong."""
    return next(line for line in said.splitlines() if "does not answer" in line or "no space" in line)


def test_the_store_is_down(lake: Settings, tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "RETRIES", 1)
    published(lake, tmp_path)
    before, own = rows_in_bi(lake), silo()
    city.drop(lake, own, "before.csv", 1, 2)
    with essai.registered(own):
        landing.sweep(lake, own.name)
    with city.without(lake, "seaweedfs"):
        city.drop(lake, own, "during.csv", 3)
        with essai.registered(own):
            with pytest.raises(Exception, match="") as caught:
                landing.sweep(lake, own.name)
            assert transient(caught.value)
            with pytest.raises(pipeline.IngestionError, match="the object store does not answer") as failed:
                pipeline.ingest(lake, own.name)
            assert transient(failed.value)
        assert rows_in_bi(lake) == before > 0  # dashboards do not notice
        ran = city.calanque(lake, "run", "--silo", "tows")
        assert ran.returncode == 1
        assert "Traceback" not in ran.stderr
        status = city.calanque(lake, "status")
        assert status.returncode == 1
        assert re.search(r"seaweedfs.*(down|failing)", status.stdout)
        told = str(failed.value)
    assert city.sweep_and_ingest(lake, own) == ["before.csv committed", "during.csv committed"]
    assert city.contents(lake, own) == ["r1", "r2", "r3"]
    row("object store down", "its service stopped while deliveries wait", told, "both deliveries in, each row once")


def test_postgresql_is_down(lake: Settings, tmp_path: Path, row: Row) -> None:
    published(lake, tmp_path)
    before, own = rows_in_files(lake), silo()
    city.drop(lake, own, "before.csv", 1, 2)
    with essai.registered(own):
        landing.sweep(lake, own.name)
    with city.without(lake, "postgres"):
        city.drop(lake, own, "during.csv", 3)
        with essai.registered(own):
            for act in (landing.sweep, pipeline.ingest):
                with pytest.raises(Exception, match="") as caught:
                    act(lake, own.name)
                assert transient(caught.value)
        assert rows_in_files(lake) == before > 0  # released files are read without it
        ran = city.calanque(lake, "run", "--silo", "tows")
        assert ran.returncode == 1
        assert "Traceback" not in ran.stderr
        told = sentence(ran.stderr)
        assert told.startswith("tows: the database does not answer")
        assert "the database does not answer" in city.calanque(lake, "doctor").stdout
    assert city.sweep_and_ingest(lake, own) == ["before.csv committed", "during.csv committed"]
    assert city.contents(lake, own) == ["r1", "r2", "r3"]
    row("PostgreSQL down", "its service stopped while deliveries wait", told, "both deliveries in, each row once")


@pytest.mark.long
@pytest.mark.parametrize("service", ["seaweedfs", "postgres"])
def test_a_server_is_killed_in_the_middle(lake: Settings, service: str, row: Row) -> None:
    """SIGKILL while a delivery is conformed: the supervisor starts it again, and the next run does the rest."""
    own, conform = silo(), pipeline.conform
    city.drop(lake, own, "a.csv", 1, 2)
    [known] = [found for found in services.status(lake) if found.name == service]
    assert known.pid is not None

    def killing(*arguments: object, **named: object) -> object:
        os.kill(known.pid or 0, signal.SIGKILL)
        return conform(*arguments, **named)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "conform", killing)
        said = city.sweep_and_ingest(lake, own)  # it may come back in time
    city.eventually(lambda: [found.state for found in services.status(lake) if found.name == service] == ["up"])
    again = city.sweep_and_ingest(lake, own)
    assert ("a.csv committed" in said) != ("a.csv committed" in again)
    assert city.contents(lake, own) == ["r1", "r2"]
    row(f"{service} killed", "SIGKILL while a delivery is conformed", said[0], "started again; each row once")


def test_the_disk_of_the_runs_is_full(lake: Settings, row: Row) -> None:
    own = silo()
    city.drop(lake, own, "a.csv", *range(20, 3000))
    with essai.registered(own):
        landing.sweep(lake, own.name)
    shutil.rmtree(lake.work_dir / "landed", ignore_errors=True)
    with small_disk(lake.work_dir / "ingest", megabytes=1) as disk:
        ballast = fill(disk)
        with essai.registered(own), pytest.raises(pipeline.IngestionError) as caught:
            pipeline.ingest(lake, own.name)
        assert transient(caught.value)
        assert disk_full(caught.value)
        assert "no space is left on a disk of this lake: free some" in str(caught.value)
        ballast.unlink()
        assert city.sweep_and_ingest(lake, own) == ["a.csv committed"]
    assert len(city.contents(lake, own)) == 2980
    row("disk of runs full", "a disk of 1 MB filled", str(caught.value), "space freed: 2,980 rows, each once")


@pytest.mark.long
@pytest.mark.parametrize("service", ["seaweedfs", "postgres"])
def test_the_disk_of_a_server_is_full(service: str, row: Row) -> None:
    """Its data on a small disk, filled: nothing is committed, nothing is doubled once there is room again."""
    with city.home() as lake:
        services.up(lake, airflow=False)
        own = silo()
        city.drop(lake, own, "first.csv", 1)
        assert city.sweep_and_ingest(lake, own) == ["first.csv committed"]
        services.down(lake)
        data = lake.data_dir / service
        aside = lake.data_dir / f"{service}.aside"
        data.rename(aside)
        owner = aside.stat()
        with small_disk(data, megabytes=400) as disk:
            os.chown(disk, owner.st_uid, owner.st_gid)
            disk.chmod(owner.st_mode & 0o777)
            shutil.copytree(aside, disk, dirs_exist_ok=True, copy_function=shutil.copy2)
            for path in (disk, *disk.rglob("*")):
                os.chown(path, owner.st_uid, owner.st_gid)
            try:
                services.up(lake, airflow=False)
                city.drop(lake, own, "second.csv", *range(20, 20_000))
                with essai.registered(own):
                    landing.sweep(lake, own.name)
                ballast = fill(disk)
                if service == "postgres":  # it has room set aside for a while: ask for more than that
                    with database.connect(lake, "admin", "lake") as connection, pytest.raises(Exception) as caught:
                        connection.execute(
                            "create table public.big as select repeat(random()::text, 100) from generate_series(1, 1e6)"
                        )
                    assert transient(caught.value)
                    told = explained(caught.value)
                else:
                    [told] = city.sweep_and_ingest(lake, own)
                    assert told != "second.csv committed"
                ballast.unlink()
                services.up(lake, airflow=False)
                assert city.sweep_and_ingest(lake, own) == ["second.csv committed"]
                assert len(city.contents(lake, own)) == 19_981
                row(f"disk of {service} full", "a disk of 400 MB filled", str(told), "space freed: each row once")
            finally:
                services.down(lake)


LONG = pytest.mark.long


@pytest.mark.parametrize(
    "what", ["metadata", pytest.param("manifest list", marks=LONG), pytest.param("manifest", marks=LONG)]
)
def test_iceberg_metadata_are_damaged(lake: Settings, tmp_path: Path, what: str, row: Row) -> None:
    published(lake, tmp_path)
    own, other = silo(), silo()
    for one in (own, other):
        city.drop(lake, one, "first.csv", 1, 2)
    assert city.sweep_and_ingest(lake, own, other) == ["first.csv committed"] * 2
    place = tmp_path / "backups"
    saving.backup(lake, place, tmp_path / "keys", locks=LOCKS)
    identifier = f"conformed.{own.datasets[0].name}"
    table = catalog.open_catalog(lake, "pipeline").load_table(identifier)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    address = {
        "metadata": table.metadata_location,
        "manifest list": snapshot.manifest_list,
        "manifest": snapshot.manifests(table.io)[0].manifest_path,
    }[what]
    bucket, key = address.removeprefix("s3://").split("/", 1)
    object_store.put_bytes(object_store.client(lake, "admin"), bucket, key, b"not what it was")

    before = rows_in_bi(lake)
    for one in (own, other):
        city.drop(lake, one, "second.csv", 2, 3)
    told, fine = city.sweep_and_ingest(lake, own, other)
    assert fine == "second.csv committed"  # a broken silo stops no other
    assert address in told
    assert "nothing of it is read or changed until it is mended, see docs/operations/backup.md" in told
    with database.connect(lake, "steward", "lake") as connection:
        assert [found.file_name for found in registry.landed_deliveries(connection, own.name)] == ["second.csv"]
        assert registry.parked_deliveries(connection, own.name) == []  # no delivery is to blame
    assert rows_in_bi(lake) == before > 0
    doctor = city.calanque(lake, "doctor", "--json")
    assert doctor.returncode == 1
    found = [finding for finding in json.loads(doctor.stdout)["findings"] if finding["check"] == "tables"]
    assert [finding["verdict"] for finding in found] == ["fail", "ok"]
    assert address in found[0]["detail"]

    mended = city.calanque(lake, "restore", str(place), "--mend")
    assert mended.returncode == 0, mended.stderr
    assert address in mended.stdout
    assert city.sweep_and_ingest(lake, own) == ["second.csv committed"]
    assert city.contents(lake, own) == city.contents(lake, other) == ["r1", "r2", "r3"]
    assert mending.mend(lake, place) == mending.Mended((), (), ())
    row(f"Iceberg {what} damaged", "overwritten in the store", told, "put back from a backup; each row once")


def flip_on_disk(lake: Settings, address: str) -> None:
    """Have some bytes of an object be others on the store's own disk, as a disk that rots does."""
    bucket, key = address.removeprefix("s3://").split("/", 1)
    content = object_store.get_bytes(object_store.client(lake, "admin"), bucket, key)
    third = len(content) // 3
    found = 0
    for path in (lake.data_dir / "seaweedfs").rglob("*.dat"):
        at = path.read_bytes().find(content)
        if at >= 0:
            found += 1
            with path.open("r+b") as stream:
                stream.seek(at + third)
                stream.write(bytes(byte ^ 0xFF for byte in content[third : third + 64]))
    assert found == 1, f"{found} objects have these bytes: which one is meant?"


def test_data_files_rot(lake: Settings, tmp_path: Path, row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows on the store's disk, and nothing of the metadata: what a backup has comes back, and what landing has."""
    monkeypatch.setattr(object_store, "RETRIES", 1)
    published(lake, tmp_path)
    own, place = silo(), tmp_path / "backups"
    city.drop(lake, own, "first.csv", 901, 902)  # rows that no other test has: their bytes are looked for
    assert city.sweep_and_ingest(lake, own) == ["first.csv committed"]
    saving.backup(lake, place, tmp_path / "keys", locks=LOCKS)
    city.drop(lake, own, "second.csv", 903, 904)
    assert city.sweep_and_ingest(lake, own) == ["second.csv committed"]

    def files(identifier: str) -> list[str]:
        table = catalog.open_catalog(lake, "publisher").load_table(identifier)
        return sorted(task.file.file_path for task in table.scan().plan_files())

    ours = f"conformed.{own.datasets[0].name}"
    saved, unsaved = sorted(files(ours), key=lambda address: address in mending_copies(place), reverse=True)
    mart = files("marts.fines_by_day")[0]
    with compute.connect(lake, "analyst") as connection:
        [released] = connection.execute("from glob('s3://lake/releases/fines_by_day/*/*.parquet')").fetchone() or [""]
    store, before = object_store.client(lake, "admin"), rows_in_files(lake)
    for address in (saved, unsaved, mart):
        flip_on_disk(lake, address)
    store.remove_object("lake", released.removeprefix("s3://lake/"))
    mended = mending.mend(lake, place)
    assert sorted(mended.done) == sorted((saved, mart, released))
    assert mended.unreadable == ()
    [lost] = mended.lost
    assert (lost.address, lost.rows, lost.first_day) == (unsaved, 2, essai.day(0))
    assert rows_in_files(lake) == before
    with essai.registered(own):
        [told] = lost_files.touched(lake, mended.lost)
        assert [each.file_name for each in told.again] == ["first.csv", "second.csv"]
        assert lost_files.rebuild(lake, mended.lost) == [told]
    assert city.contents(lake, own) == ["r901", "r902", "r903", "r904"]
    assert mending.mend(lake, place) == mending.Mended((), (), ())
    object_store.put_bytes(store, *mart.removeprefix("s3://").split("/", 1), b"not what it was")
    [damaged] = mending.mend(lake, tmp_path / "no backup").lost
    assert damaged.mart == "fines_by_day"
    assert renewing.renew(lake, {damaged.mart}) == ["fines_by_day"]
    assert mending.mend(lake, place) == mending.Mended((), (), ())
    assert city.calanque(lake, "ledger").returncode == 0

    healed = "put back from a backup; what none had, made again from landing and release files: each row once"
    row("data files rot", "bytes flipped on the disk of seaweedfs", f"{lost}; {told.sentence}", healed)

    # Without the bytes in landing, whoever delivered them is told of, and the other rows can be read again.
    city.drop(lake, own, "third.csv", 905)
    assert city.sweep_and_ingest(lake, own) == ["third.csv committed"]
    [third] = [address for address in files(ours) if address not in (saved, unsaved)][-1:]
    object_store.put_bytes(store, *third.removeprefix("s3://").split("/", 1), b"not what it was")
    with database.connect(lake, "pipeline", "lake") as connection:
        connection.execute("update registry.delivery set object_key = 'gone' where silo = %s", [own.name])
    with essai.registered(own):
        [told] = lost_files.rebuild(lake, mending.mend(lake, place).lost)
    assert (told.again, len(told.gone)) == ((), 3)
    assert "have their rows delivered in new files" in told.sentence


def mending_copies(place: Path) -> set[str]:
    """The addresses of what the backups hold."""
    return {f"s3://{each.bucket}/{each.key}" for folder in folders(place) for each in Manifest.read(folder).objects}


def test_a_months_key_is_gone(lake: Settings, tmp_path: Path, row: Row) -> None:
    own, place, keys = silo(), tmp_path / "backups", tmp_path / "keys"
    city.drop(lake, own, "first.csv", 1, 2)
    assert city.sweep_and_ingest(lake, own) == ["first.csv committed"]
    saving.backup(lake, place, keys, locks=LOCKS)
    month = f"{essai.day(0):%Y-%m}"
    key = lake.keys_dir / own.name / f"{month}.key"
    key.unlink()
    city.drop(lake, own, "second.csv", 2, 3)
    [told] = city.sweep_and_ingest(lake, own)
    assert f"the key of silo {own.name} for {month} was used before and is gone" in told
    assert not key.exists()  # no other was made in its place
    shutil.copy2(keys / "keys" / own.name / f"{month}.key", key)
    assert city.sweep_and_ingest(lake, own) == ["second.csv committed"]
    assert city.contents(lake, own) == ["r1", "r2", "r3"]
    key.write_bytes(bytes(32))
    city.drop(lake, own, "third.csv", 3, 4)
    [other] = city.sweep_and_ingest(lake, own)
    assert "is not the one that was used before" in other
    row("month's key gone", "its file deleted before its time", told, "put back from the mirror; each row once")


@pytest.mark.long
def test_the_clock_is_wrong(lake: Settings, tmp_path: Path, row: Row) -> None:
    published(lake, tmp_path)
    before = rows_in_bi(lake)
    past = lake.model_copy(update={"now": datetime.now(UTC) - timedelta(days=400)})
    with pytest.raises(ledger.LedgerBrokenError, match="the clock went back") as caught:
        tampering.publish(past, tmp_path, "b-past", first_day=tampering.APRIL)
    assert rows_in_bi(lake) == before
    doctor = city.calanque(past, "doctor")
    assert "frozen at" in doctor.stdout
    tampering.publish(lake, tmp_path, "b-now", first_day=tampering.APRIL)
    assert verifying.verify(lake).breaks == ()

    # Events after the clock's day are nobody's: quarantined, with the rule that says so.
    today = city_hall.today()
    tomorrow = [city_hall.fine(add_months(today, 1), "AA-601-FU"), city_hall.fine(today, "AA-602-FU")]
    [receipt] = city_hall.deliver(lake, "verbalisations", tomorrow, tmp_path / "sent")
    assert (receipt.tally.accepted, receipt.tally.quarantined) == (1, 1)
    assert any("date" in rule for rule in receipt.tally.by_rule), receipt.tally.by_rule
    row("clock set back", "CALANQUE_NOW 400 days ago", str(caught.value), "set right: released, the ledger verifies")
    row("events in the future", "a fine dated next month", f"quarantined: {receipt.tally.by_rule}", "the others are in")


@pytest.mark.parametrize(
    "ahead",
    [timedelta(days=31), pytest.param(timedelta(days=3653), marks=pytest.mark.long)],
    ids=["a month", "ten years"],
)
def test_the_clock_runs_ahead(lake: Settings, tmp_path: Path, ahead: timedelta, row: Row) -> None:
    """Nothing that cannot be undone is done by a clock that leapt, until a person says that it is right."""
    file, real = tmp_path / "clock", datetime.now(UTC)
    ours = lake.model_copy(update={"now_file": file})
    file.write_text(real.isoformat())
    published(lake, tmp_path)
    trusted_clock.confirm(ours, real.date(), by="test", reason="the lake is at work")
    city_hall.deliver(lake, "tows", [city_hall.tow(real.date(), "AA-701-FU")], tmp_path / "sent")
    own = silo()
    city.drop(lake, own, "unread.csv", 1)
    with essai.registered(own):
        landing.sweep(lake, own.name)

    def kept() -> list[object]:
        living = [key for key in key_duty.keys(lake) if key.state == "alive"]
        objects = [len(city_hall.objects(lake, *place)) for place in (("landing",), ("lake", "conformed/"))]
        with database.connect(lake, "publisher", "lake") as connection:
            return [len(living), objects, len(ledger.lines(connection)), rows_in_bi(lake)]

    before = kept()
    file.write_text((real + ahead).isoformat())
    for act in (
        lambda: job.run(ours, run_id="ahead"),
        lambda: key_duty.destroy_due(ours, run="ahead"),
        lambda: tampering.publish(ours, tmp_path, f"b-{ahead.days}", first_day=tampering.APRIL),
        lambda: saving.backup(ours, tmp_path / "backups", tmp_path / "keys", locks=LOCKS),
    ):
        with pytest.raises(trusted_clock.ClockDoubtedError, match="the lake was last at work at") as caught:
            act()
        assert not transient(caught.value)
    assert kept() == before
    watch(ours)
    with database.connect(lake, "steward", "lake") as connection:
        assert "clock-doubted" in {episode.kind for episode in alerts.standing(connection)}

    # Neither a wrong date nor the mere wish makes it believed; the true date does, and so it goes back.
    with pytest.raises(trusted_clock.ClockDoubtedError, match="set it by NTP first"):
        trusted_clock.confirm(ours, real.date(), by="test", reason="it is what my watch shows")
    right = city.calanque(ours, "clock", "--confirm", f"{(real + ahead).date()}", "--reason", "we were away")
    assert right.returncode == 0, right.stderr
    outcome = job.run(ours, run_id="back at work")
    assert outcome.changed
    assert outcome.failures == ()
    file.write_text(real.isoformat())
    with pytest.raises(trusted_clock.ClockDoubtedError):
        job.run(ours, run_id="set right")
    trusted_clock.confirm(ours, real.date(), by="test", reason="it was wrong")
    watch(ours)
    with database.connect(lake, "steward", "lake") as connection:
        assert "clock-doubted" not in {episode.kind for episode in alerts.standing(connection)}
    healed = "nothing removed, destroyed or published; a person's word, and the limits are held"
    row(f"clock {ahead.days} days ahead", "the clock leapt", str(caught.value), healed)


def test_junk_stops_nobody(lake: Settings) -> None:
    """Whatever lies in one drop folder, the next silo's deliveries are in."""
    own, other = silo(), silo()
    city.drop(lake, other, "good.csv", 1)
    folder = lake.drop_dir / own.name
    folder.mkdir(parents=True)
    (folder / "link.csv").symlink_to("/etc/hostname")
    (folder / "junk.bin").write_bytes(os.urandom(10_000))
    said = city.sweep_and_ingest(lake, own, other)
    assert said == ["junk.bin refused", "good.csv committed"]
