"""What keys make possible and their destruction impossible, on a live lake: linking, finding, erasing a vehicle."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable
from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest
from pyiceberg.expressions import EqualTo
from typer.testing import CliRunner

from calanque.cli import app
from infra import object_store
from infra.calendar.clock import add_months, month_start
from infra.catalog import open_catalog
from infra.keys.store import KeyState, open_keys
from infra.settings import Settings
from ingestion import backfill, pipeline, replay
from ingestion.conformed.vehicles import replace_day
from ingestion.rows.pseudonyms import PSEUDONYM_BYTES
from ingestion.silos.tows import SILO as TOWS
from privacy import key_duty
from stewardship import erasure
from stewardship.retention import job
from tests.stewardship.retention import city_hall as city

pytestmark = [pytest.mark.live, pytest.mark.slow]

PLATES = [f"AA{number:03}AA" for number in range(1000)]  # all the plates there are, in the world of these tests
CANARY = "ZZ913QK"


def month(day: date) -> str:
    return f"{day:%Y-%m}"


def enumerate_plates(key: bytes, known: Iterable[bytes]) -> set[str]:
    """The plates that an attacker finds who tries them all under ``key`` against these pseudonyms."""
    known = set(known)
    hashed = {
        hmac.digest(key.hex().encode(), b"vehicle\0" + plate.encode(), "sha256")[:PSEUDONYM_BYTES]: plate
        for plate in PLATES
    }
    return {plate for alias, plate in hashed.items() if alias in known}


def vehicles(lake: Settings, dataset: str, of: date) -> list[bytes]:
    rows = city.rows(lake, dataset).filter(pl.col("event_date").dt.month_start() == month_start(of))
    return list(rows["vehicle"].drop_nulls())


def receipt(lake: Settings, key: str) -> dict[str, object]:
    content: dict[str, object] = object_store.get_json(object_store.client(lake, "steward"), "receipts", key)
    return content


def test_an_erasure_holds_wherever_rows_come_from(mortal: Settings, tmp_path: Path) -> None:
    now, silo = month_start(city.today()), "verbalisations"
    first = add_months(now, -1)
    open_keys(mortal).destroy(silo, month(add_months(now, -9)))
    [sent] = city.deliver(mortal, silo, [city.fine(first, plate) for plate in ("EE-111-EE", "EE-222-EE")], tmp_path)
    others = city.rows(mortal, silo).height - 1
    table = open_catalog(mortal, "pipeline").load_table(f"conformed.{silo}")
    whole = city.rows(mortal, silo).filter(pl.col("event_date") == first)
    done = erasure.erase(mortal, "EE 111 EE", run="test")
    assert done.removed == 1
    assert {month(now), month(first)} <= set(done.holds[silo])
    assert (done.mirrored, job.check(mortal)[1]) == (None, ())
    [alias] = open_keys(mortal).erased(silo)[month(first)] & {city.pseudonym(mortal, silo, "EE111EE", first)}

    def holds() -> None:
        assert city.rows(mortal, silo).height == others
        assert city.anywhere(mortal, alias) == []

    replay.replay(mortal, silo, sent.delivery_id)  # the same bytes, conformed again
    [again] = pipeline.ingest(mortal, silo)
    assert again.tally.by_rule == {"erased": 1}
    holds()
    table.refresh().delete(EqualTo("event_date", first.isoformat()))  # a day that is lost, and brought back
    assert sent.delivery_id in backfill.days(mortal, silo, first, first).again
    holds()
    [other] = city.deliver(mortal, silo, [city.fine(now, "ee111ee")], tmp_path)  # new bytes, of a month without a row
    assert other.tally.by_rule == {"erased": 1}
    holds()

    with table.refresh().transaction() as setting_back:
        replace_day(setting_back, table, first, whole, {})
    assert city.rows(mortal, silo).height == others + 1
    assert job.check(mortal)[1] == (f"table {silo}: 1 rows of vehicles that were erased",)
    outcome = job.run(mortal, run_id="test")
    assert {tally.silo: tally.rows for tally in outcome.tallies if tally.holding == "erased"} == {silo: 1, "tows": 0}
    assert outcome.overdue == ()
    holds()

    key_duty.destroy(mortal, silo, month(first), run="test", reason="due")  # it lasts as long as the key, no longer
    assert set(open_keys(mortal).erased(silo)) & {month(first), month(now)} == {month(now)}


def test_after_destruction_two_months_cannot_be_linked(mortal: Settings, tmp_path: Path) -> None:
    second = month_start(city.today())
    first = add_months(second, -1)
    seen = PLATES[100:150]
    city.deliver(mortal, "tows", [city.tow(day, plate) for day in (first, second) for plate in seen], tmp_path)
    keys = open_keys(mortal)
    leaked = keys.get_or_create("tows", month(first))

    aliases = {day: vehicles(mortal, "tows", day) for day in (first, second)}
    assert len(set(aliases[first])) == len(set(aliases[second])) == len(seen)
    assert not set(aliases[first]) & set(aliases[second])
    assert enumerate_plates(leaked, aliases[first]) == set(seen)  # the control: with the key, all of them

    due = add_months(first, 2)
    assert key_duty.destroy_due(city.at(mortal, due - timedelta(days=1)), run="early") == []
    [gone] = key_duty.destroy_due(city.at(mortal, due), run="drill")
    assert (gone.silo, gone.month) == ("tows", month(first))
    assert key_duty.destroy_due(city.at(mortal, due), run="again") == []
    proof = receipt(mortal, gone.key)
    assert (proof["tombstone"], proof["key_present"], proof["run"], proof["reason"]) == (True, False, "drill", "due")
    assert proof["seen_destroyed_at"] == f"{due}T03:00:00+00:00"

    # Everything but the key: every other key and secret of the lake, raw and hashed, and no key at all.
    files = {path.read_bytes() for path in mortal.home.rglob("*") if path.is_file() and path.stat().st_size < 512}
    assert leaked not in files
    assert not any(leaked in content for content in files)
    assert city.anywhere(mortal, leaked) == []
    guesses = [b"", *files, *(content.strip() for content in files)]
    guesses += [hashlib.sha256(guess).digest() for guess in guesses]
    assert len(guesses) > 50
    left = vehicles(mortal, "tows", first)
    assert len(left) == len(seen)
    assert not any(enumerate_plates(guess, left) for guess in guesses)
    unkeyed = {hashlib.sha256(plate.encode()).digest()[:PSEUDONYM_BYTES] for plate in PLATES}
    assert not unkeyed & set(left)
    assert not {*left} & set(vehicles(mortal, "tows", second))


def test_a_destroyed_key_whose_receipt_is_missing_gets_it(mortal: Settings) -> None:
    keys = open_keys(mortal)
    keys.get_or_create("tows", "2020-01")
    keys.destroy("tows", "2020-01")  # and killed before the receipt
    assert [gone.month for gone in key_duty.destroy_due(mortal, run="after the crash")] == ["2020-01"]
    assert receipt(mortal, "keys/tows/2020-01.json")["run"] == "after the crash"


class Stubborn:
    """A key store that keeps what it is told to destroy."""

    def __init__(self, settings: Settings) -> None:
        pass

    def get_or_create(self, silo: str, month: str) -> bytes:
        return f"{silo}{month}".encode().ljust(32, b".")

    def destroy(self, silo: str, month: str) -> None:
        pass

    def states(self) -> list[KeyState]:
        return [KeyState("tows", "2021-01", present=True, tombstone=False)]

    def erase(self, silo: str, month: str, pseudonym: bytes) -> None:
        pass

    def erased(self, silo: str) -> dict[str, frozenset[bytes]]:  # noqa: ARG002
        return {}


def test_a_store_that_keeps_a_key_is_no_proof(mortal: Settings) -> None:
    stubborn = mortal.model_copy(update={"keys_backend": f"{__name__}:Stubborn"})
    assert key_duty.destroy_due(stubborn, run="test") == []
    assert [line.overdue for line in key_duty.keys(stubborn)] == [True]
    with pytest.raises(key_duty.KeySurvivedError, match="tows for 2021-01"):
        key_duty.destroy(stubborn, "tows", "2021-01", run="test", reason="leaked")
    written = city.objects(mortal, "receipts", "keys/tows/2021-01")
    assert written == []


def test_a_key_made_to_load_history_lasts_a_day(mortal: Settings) -> None:
    keys = open_keys(mortal)
    keys.get_or_create("tows", "2019-05")
    assert key_duty.destroy_due(mortal, run="the same day") == []
    assert not any(line.overdue for line in key_duty.keys(mortal) if line.month == "2019-05")
    later = city.at(mortal, city.today() + timedelta(days=2))
    assert "2019-05" in [gone.month for gone in key_duty.destroy_due(later, run="two days later")]


def test_a_vehicle_is_erased_as_far_as_keys_reach(mortal: Settings, tmp_path: Path) -> None:
    now = month_start(city.today())
    alive, closed = add_months(now, -3), add_months(now, -4)
    days = (alive, alive + timedelta(days=5), closed)
    city.deliver(
        mortal,
        "verbalisations",
        [city.fine(day, plate) for day in days for plate in ("zz-913-qk", "AA-500-AA")],
        tmp_path,
    )
    city.deliver(mortal, "tows", [city.tow(alive, "ZZ 913 QK"), city.tow(alive, "AA-500-AA")], tmp_path)
    aliases = [city.pseudonym(mortal, silo, CANARY, alive) for silo in ("verbalisations", "tows")]
    lost = city.pseudonym(mortal, "verbalisations", CANARY, closed)
    others = {silo: city.pseudonym(mortal, silo, "AA500AA", alive) for silo in ("verbalisations", "tows")}
    key_duty.destroy(mortal, "verbalisations", month(closed), run="test", reason="due")
    before = {name: city.rows(mortal, name).height for name in ("verbalisations", "tows")}
    for alias in aliases:
        assert city.anywhere(mortal, alias)
    city.drop(mortal, "tows", [city.tow(alive, "ZZ-913-QK")], tmp_path)  # landed, not digested yet

    done = erasure.erase(mortal, " zz 913-qk\n", run="test")
    assert done.removed == 3
    assert done.tables["verbalisations"].removed == {month(alive): 2}
    assert month(closed) in done.tables["verbalisations"].not_searched
    assert done.tables["tows"].removed == {month(alive): 1}
    assert city.rows(mortal, "verbalisations").height == before["verbalisations"] - 2
    assert city.rows(mortal, "tows").height == before["tows"] - 1
    assert vehicles(mortal, "verbalisations", alive).count(others["verbalisations"]) == 2
    assert vehicles(mortal, "tows", alive) == [others["tows"]]
    assert city.anywhere(mortal, *aliases) == []
    assert lost in vehicles(mortal, "verbalisations", closed)  # nobody can tell any more, and its time will come

    written = json.dumps(receipt(mortal, done.receipt_key))
    last = month(add_months(now, -1))  # its key was destroyed above
    assert json.loads(written)["tables"]["tows"] == {"removed": {month(alive): 1}, "not_searched": [last]}
    for secret in (CANARY, "ZZ-913", aliases[0].hex(), aliases[1].hex(), hashlib.sha256(CANARY.encode()).hexdigest()):
        assert secret.lower() not in written.lower()
    [undigested] = [each for each in done.landing if not each.digested]
    assert (undigested.silo, undigested.gone_on) == ("tows", city.today() + timedelta(days=7))

    # What was not digested yet does not bring the vehicle back.
    [late] = pipeline.ingest(mortal, "tows")
    assert late.tally.by_rule == {"erased": 1}
    assert city.rows(mortal, "tows").height == before["tows"] - 1
    assert erasure.erase(mortal, CANARY, run="test").removed == 0


def test_the_command_takes_no_plate_as_an_argument_and_shows_none(
    mortal: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in mortal.environment().items():
        monkeypatch.setenv(name, value)
    day = city.today()
    city.deliver(mortal, "verbalisations", [city.fine(day, "BC-234-DE")], tmp_path)
    runner = CliRunner()
    said = runner.invoke(app, ["erase"], input="bc 234 de\n")
    assert said.exit_code == 0, said.output
    assert f"verbalisations, {month(day)}: 1 rows removed" in said.output
    assert "234" not in said.output.replace(month(day), "").split("receipt")[0]
    asked = tmp_path / "request.txt"
    asked.write_text("BC-234-DE")
    again = runner.invoke(app, ["erase", str(asked), "--json"])
    assert again.exit_code == 0, again.output
    assert json.loads(again.output)["tables"]["verbalisations"]["removed"] == {}
    refused = runner.invoke(app, ["erase"], input="--//--\n")
    assert refused.exit_code == 1
    assert "not a registration plate" in refused.output
    assert "--//--" not in refused.output
    assert runner.invoke(app, ["erase", "BC-234-DE"]).exit_code != 0


def test_leaked_key_drill(mortal: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """docs/runbooks/leaked-key.md, as it says."""
    for name, value in mortal.environment().items():
        monkeypatch.setenv(name, value)
    day = add_months(month_start(city.today()), -6)
    seen = [*PLATES[300:320], *PLATES[300:310]]  # ten of the vehicles twice
    city.deliver(mortal, "tows", [city.tow(day + timedelta(days=n % 9), p) for n, p in enumerate(seen)], tmp_path)
    leaked = open_keys(mortal).get_or_create("tows", month(day))
    before = city.rows(mortal, "tows").filter(pl.col("event_date").dt.month_start() == day)
    assert enumerate_plates(leaked, before["vehicle"]) == set(seen)
    old_alias = before["vehicle"][0]

    runner = CliRunner()
    listed = json.loads(runner.invoke(app, ["keys", "--json"]).output)
    assert {"silo": "tows", "month": month(day), "state": "alive"}.items() <= next(
        line for line in listed if (line["silo"], line["month"]) == ("tows", month(day))
    ).items()
    said = runner.invoke(app, ["keys", "leaked", "--silo", "tows", "--month", month(day)])
    assert said.exit_code == 0, said.output
    assert f"tows, {month(day)}: {len(seen)} rows have new pseudonyms" in said.output

    after = city.rows(mortal, "tows").filter(pl.col("event_date").dt.month_start() == day)
    assert enumerate_plates(leaked, after["vehicle"]) == set()
    assert not {*before["vehicle"], *before["record_key"]} & {*after["vehicle"], *after["record_key"]}
    assert city.anywhere(mortal, old_alias) == []
    # Nothing that is counted has changed: the same rows, and the same vehicles among them.
    kept = [column for column in before.columns if column not in {"vehicle", "record_key"}]
    assert after.select(kept).sort(kept).equals(before.select(kept).sort(kept))
    assert after["record_key"].n_unique() == before["record_key"].n_unique() == len(seen)
    assert sorted(after["vehicle"].value_counts()["count"]) == sorted(before["vehicle"].value_counts()["count"])
    assert receipt(mortal, f"keys/tows/{month(day)}.json")["reason"] == "leaked"
    # The month is closed.
    [late] = city.deliver(mortal, "tows", [city.tow(day, "AA-900-AA")], tmp_path)
    assert late.tally.by_rule == {"month_key_destroyed": 1}
    assert {dataset.name for dataset in TOWS.datasets} == {"tows"}
    for wrong in (["--silo", "nobody", "--month", "2026-01"], ["--silo", "tows", "--month", "January"]):
        assert runner.invoke(app, ["keys", "leaked", *wrong]).exit_code == 2


def test_the_commands_report_what_is_left(mortal: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    city.deliver(mortal, "tows", [city.tow(city.today(), "AA-700-AA")], tmp_path)
    for name, value in city.at(mortal, add_months(city.today(), 14)).environment().items():
        monkeypatch.setenv(name, value)
    runner = CliRunner()
    looked = runner.invoke(app, ["retention", "--check", "--json"])
    assert looked.exit_code == 1
    assert json.loads(looked.output)["overdue"]
    done = runner.invoke(app, ["retention", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["overdue"] == []
    assert {line["holding"] for line in json.loads(done.output)["removed"]} >= {"landing", "conformed"}
    assert "within its limit" in runner.invoke(app, ["retention"]).output
    assert "no key is due" in runner.invoke(app, ["keys", "destroy"]).output
    assert city.rows(mortal, "tows").is_empty()
