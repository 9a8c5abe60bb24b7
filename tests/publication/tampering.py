"""The tampering drill: break the ledger or a release in every way there is, and see that it is detected or refused.

Run by itself, it starts a lake in a folder of its own, drills, and prints what was answered to each attempt:

    python tests/publication/tampering.py
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import psycopg
from psycopg.types.json import Jsonb
from released import wipe
from synthetic_marts import fingerprint, make, reference, silo_of, spec, stage, units

from infra import database, object_store, registry
from infra.settings import Settings
from privacy import ledger, signed_copies
from privacy import plan as privacy_plan
from privacy.ledger import Line
from publication.builds.candidates import BuiltUnit
from publication.contracts import CONTRACTS
from publication.releases import release, verifying

MARTS = ("fines_by_day", "fines_by_month", "fines_by_nature")
MARCH, APRIL = (unit.first_day for unit in units("fines_by_day"))


def publish(settings: Settings, scratch: Path, build_id: str = "b1", seed: int = 1, first_day: object = MARCH) -> None:
    """Release one month of three marts."""
    of = [unit for mart in MARTS for unit in units(mart) if unit.first_day == first_day]
    build = spec(build_id, of)
    rows = {mart: make(CONTRACTS[mart], reference(CONTRACTS[mart], build), seed) for mart in MARTS}
    stage(settings, build, rows, scratch)
    release.release(settings, build_id)


def answered(attempt: Callable[[], object]) -> str:
    """The message with which an attempt is refused.

    Raises:
        AssertionError: it is not.
    """
    try:
        attempt()
    except (ledger.LedgerBrokenError, psycopg.Error) as reason:
        return str(reason).splitlines()[0]
    raise AssertionError("the attempt succeeded")


def detected(settings: Settings) -> str:
    """The first thing that verification finds; and whatever it is, nothing more is released.

    Raises:
        AssertionError: it finds nothing.
    """
    breaks = verifying.verify(settings).breaks
    if not breaks:
        raise AssertionError("verification found nothing")
    return breaks[0]


def held(settings: Settings, mart: str) -> str:
    with database.connect(settings, "steward", "lake") as connection:
        return registry.marts(connection)[mart].held_because or ""


def overrule(settings: Settings, statement: str, parameters: list[object] | None = None) -> None:
    """Do something to the ledger as the superuser, with the triggers that refuse it out of the way."""
    with database.connect(settings, "admin", "lake") as connection:
        connection.execute("alter table ledger.line disable trigger user")
        connection.execute(statement, parameters)
        connection.execute("alter table ledger.line enable trigger user")


# --- the drills ------------------------------------------------------------------------------------------------------


def a_deleted_line(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    overrule(settings, "delete from ledger.line where seq = 2")
    refused = answered(lambda: publish(settings, scratch, "b2", first_day=APRIL))
    assert "line 2 is missing" in refused
    return detected(settings)


def the_last_line_deleted(settings: Settings, scratch: Path) -> str:
    """As restoring an older backup of the database would."""
    publish(settings, scratch)
    overrule(settings, "delete from ledger.line where seq = 3")
    refused = answered(lambda: publish(settings, scratch, "b2", first_day=APRIL))
    assert "restored or truncated" in refused
    return detected(settings)


def an_edited_line(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    overrule(settings, """update ledger.line set body = body || '{"spends": "0.01"}' where seq = 2""")
    refused = answered(lambda: publish(settings, scratch, "b2", first_day=APRIL))
    assert "line 2 of the ledger was changed" in refused
    return detected(settings)


def a_rewritten_chain(settings: Settings, scratch: Path) -> str:
    """The line and every hash after it made to fit: only the signed copies still know."""
    publish(settings, scratch)
    with database.connect(settings, "admin", "lake") as connection:
        chain = ledger.lines(connection)
    forged: list[Line] = []
    for line in chain:
        body = {**line.body, "spends": "0.01"} if line.seq == 2 else line.body
        forged.append(Line.after(forged[-1] if forged else None, line.recorded_at, line.kind, body))
    for line in forged:
        overrule(
            settings,
            "update ledger.line set body = %s, previous = %s, hash = %s where seq = %s",
            [Jsonb(line.body), line.previous, line.hash, line.seq],
        )
    assert list(ledger.breaks(forged)) == []
    refused = answered(lambda: publish(settings, scratch, "b2", first_day=APRIL))
    assert "signed copy" in refused
    return detected(settings)


def a_replaced_copy(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    store = object_store.client(settings, "admin")
    copy = object_store.get_json(store, signed_copies.BUCKET, signed_copies.key(1))
    copy["line"]["body"]["spends"] = "0.01"
    object_store.put_json(store, signed_copies.BUCKET, signed_copies.key(1), copy)
    return detected(settings)


def a_deleted_copy(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    object_store.client(settings, "admin").remove_object(signed_copies.BUCKET, signed_copies.key(1))
    return detected(settings)


def an_edited_release(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    store = object_store.client(settings, "publisher")
    key = next(key for key in object_store.list_keys(store, "lake", "releases/fines_by_day/unit="))
    data = object_store.get_bytes(store, "lake", key)
    object_store.put_bytes(store, "lake", key, data[:-1] + bytes([data[-1] ^ 1]))
    return detected(settings)


def a_deleted_release(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    store = object_store.client(settings, "publisher")
    key = next(key for key in object_store.list_keys(store, "lake", "releases/fines_by_day/unit="))
    store.remove_object("lake", key)
    return detected(settings)


def an_edited_manifest(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    store = object_store.client(settings, "publisher")
    document = object_store.get_json(store, "lake", "releases/fines_by_day/v1.json")
    object_store.put_json(store, "lake", "releases/fines_by_day/v1.json", {**document, "rows": 0})
    return detected(settings)


def a_part_that_no_line_has(settings: Settings, scratch: Path) -> str:
    """A manifest slipped into the registry and the store, without the ledger."""
    publish(settings, scratch)
    with database.connect(settings, "admin", "lake") as connection:
        connection.execute(
            "update registry.release set manifest = jsonb_set(manifest, '{parts,0,sha256}', '\"0\"') where mart = %s",
            ["fines_by_day"],
        )
    return next(each for each in verifying.verify(settings).breaks if "in its manifest is not what line" in each)


def the_clock_rolled_back(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    yesterday = settings.model_copy(update={"now": datetime.now(UTC) - timedelta(days=1)})
    return answered(lambda: publish(yesterday, scratch, "b2", first_day=APRIL))


def two_writers(settings: Settings, scratch: Path) -> str:
    """Two that follow the same line, neither of which waits for the other."""
    publish(settings, scratch)
    with database.connect(settings, "publisher", "lake") as connection:
        last = ledger.lines(connection)[-1]
    with (
        database.connect(settings, "publisher", "lake") as one,
        database.connect(settings, "publisher", "lake") as other,
    ):
        ledger.append(one, last, datetime.now(UTC), [("drill", {"writer": 1})])
        refused: list[str] = []
        waiting = threading.Thread(
            target=lambda: refused.append(
                answered(lambda: ledger.append(other, last, datetime.now(UTC), [("drill", {"writer": 2})]))
            )
        )
        waiting.start()
        one.commit()
        waiting.join()
    return refused[0]


def two_publishers(settings: Settings, scratch: Path) -> str:
    """Two releases at once of the same month, from inputs that differ: one is published, the other refused."""
    of = [unit for unit in units("fines_by_day") if unit.first_day == MARCH]
    for seed in (1, 2):
        build = spec(f"b{seed}", of)
        rows = {"fines_by_day": make(CONTRACTS["fines_by_day"], reference(CONTRACTS["fines_by_day"], build), seed)}
        stage(settings, build, rows, scratch)
    outcomes: list[int] = []
    threads = [
        threading.Thread(target=lambda name=name: outcomes.append(len(release.release(settings, name))))
        for name in ("b1", "b2")
    ]
    # The loser must still find its candidates when its turn comes.
    with mock.patch("publication.releases.release._clean"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(outcomes) == [0, 1]
    assert verifying.verify(settings).breaks == ()
    return held(settings, "fines_by_day")


def a_budget_exceeded(settings: Settings, scratch: Path) -> str:
    """The limit is lowered, which a plan that is loaded would not let happen: the ledger refuses on its own."""
    plan = privacy_plan.plan()
    enough_for_two = plan.marts["fines_by_day"].spends + plan.marts["fines_by_month"].spends
    lower = plan.budgets["vehicles"].model_copy(update={"limit": enough_for_two})
    tight = plan.model_copy(update={"budgets": {**plan.budgets, "vehicles": lower}})
    with mock.patch("publication.releases.release.plan", return_value=tight):
        publish(settings, scratch)
    with database.connect(settings, "steward", "lake") as connection:
        assert {line.body["mart"] for line in ledger.lines(connection)} == {"fines_by_day", "fines_by_month"}
    return held(settings, "fines_by_nature")


def a_changed_input(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    publish(settings, scratch, "b2", seed=2)
    return held(settings, "fines_by_day")


def a_changed_input_beside(settings: Settings, scratch: Path) -> str:
    """A mart that was held back is built from an input that is no longer that of the marts it must agree with."""
    publish_one = [unit for unit in units("fines_by_day") if unit.first_day == MARCH]
    build = spec("b1", publish_one)
    rows = make(CONTRACTS["fines_by_day"], reference(CONTRACTS["fines_by_day"], build), 1)
    stage(settings, build, {"fines_by_day": rows}, scratch)
    release.release(settings, "b1")
    (late,) = (unit for unit in units("fines_by_month") if unit.first_day == MARCH)
    build = spec("b2", [late])
    other = make(CONTRACTS["fines_by_month"], reference(CONTRACTS["fines_by_month"], build), 1)
    beside = BuiltUnit(
        unit=publish_one[0],
        silo=silo_of("fines_by_day"),
        fingerprint=fingerprint(publish_one[0], rows.slice(1)),
        due=False,
    )
    stage(settings, build, {"fines_by_month": other}, scratch, beside=[beside])
    assert release.release(settings, "b2") == []
    return held(settings, "fines_by_month")


def a_second_edition_unasked(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    of = [unit for unit in units("fines_by_day", edition=2) if unit.first_day == MARCH]
    build = spec("b2", of)
    rows = make(CONTRACTS["fines_by_day"], reference(CONTRACTS["fines_by_day"], build), 2)
    stage(settings, build, {"fines_by_day": rows}, scratch)
    assert release.release(settings, "b2") == []
    return held(settings, "fines_by_day")


def a_change_by_the_publisher(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    with database.connect(settings, "publisher", "lake", autocommit=True) as connection:
        for statement in ("update ledger.line set kind = 'x'", "delete from ledger.line", "truncate ledger.line"):
            refused = answered(lambda statement=statement: connection.execute(statement))
            assert "permission denied" in refused
    return refused


def a_change_by_the_administrator(settings: Settings, scratch: Path) -> str:
    publish(settings, scratch)
    with database.connect(settings, "admin", "lake", autocommit=True) as connection:
        for statement in ("update ledger.line set kind = 'x'", "delete from ledger.line", "truncate ledger.line"):
            refused = answered(lambda statement=statement: connection.execute(statement))
            assert "append-only" in refused
    return refused


DRILLS: Mapping[Callable[[Settings, Path], str], str] = {
    a_deleted_line: "line 2 is missing from the ledger",
    the_last_line_deleted: "the database was restored or truncated",
    an_edited_line: "line 2 of the ledger was changed",
    a_rewritten_chain: "line 2 of the ledger is not what its signed copy says",
    a_replaced_copy: "its signature is not valid",
    a_deleted_copy: "line 1 of the ledger has no signed copy",
    an_edited_release: "was changed: it does not have the SHA-256 of line",
    a_deleted_release: "is missing: restore it",
    an_edited_manifest: "manifest releases/fines_by_day/v1.json was changed",
    a_part_that_no_line_has: "is not what line 1 of the ledger says",
    the_clock_rolled_back: "the clock went back",
    two_writers: "line 4 of the ledger was written by somebody else at the same time",
    two_publishers: "the input changed since edition 1 was published",
    a_budget_exceeded: "fines_by_nature of 2026-03-01 to 2026-03-31: budget vehicles would be overdrawn",
    a_changed_input: "the input changed since edition 1 was published",
    a_changed_input_beside: "the input changed since fines_by_day was published, with which it must agree",
    a_second_edition_unasked: "edition 2 needs a reason",
    a_change_by_the_publisher: "permission denied",
    a_change_by_the_administrator: "the ledger is append-only",
}
"""Each drill, with words that its answer must have."""


def main() -> int:
    from infra.machines.services import lake as services  # noqa: PLC0415

    home = Path(tempfile.mkdtemp(prefix="calanque-drill-"))
    home.chmod(0o755)
    settings = Settings(home=home, quiet=True, drill=True)
    failed = 0
    try:
        services.up(settings, airflow=False)
        for drill, expected in DRILLS.items():
            wipe(settings)
            try:
                answer = drill(settings, home)
            except AssertionError as reason:
                answer = f"NOT REFUSED ({reason})"
            failed += expected not in answer
            print(f"{drill.__name__.replace('_', ' ')}:\n    {answer}")
    finally:
        services.down(settings)
        shutil.rmtree(home, ignore_errors=True)
    print(f"{len(DRILLS) - failed} of {len(DRILLS)} attempts detected or refused")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
