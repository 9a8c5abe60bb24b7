"""Approvals: who asked, who answered, when and why is recorded; what was approved is done, once, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path

import psycopg
import pytest
import tampering
from typer.testing import CliRunner

from calanque.cli import app, steward_requests
from infra import database, endpoints, object_store, registry
from infra.build_spec import Unit
from infra.contract_versions import Column, ContractHeldError, Document, Side, admit, in_force, put_in_force
from infra.settings import Settings
from ingestion.contracts.silo_documents import named
from privacy import ledger
from privacy.plan import plan
from privacy.spending import CORRECTION, Book, RefusedError, exact
from stewardship import approvals, corrections
from stewardship.approvals import Approval

pytestmark = pytest.mark.live

MARCH = date(2026, 3, 1)
ASKED, ANSWERED = datetime(2026, 5, 1, 8, tzinfo=UTC), datetime(2026, 5, 2, 9, tzinfo=UTC)


@pytest.fixture
def published(clean_lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """March of the monthly tables of fines, in the lake of this environment; nothing was ever approved."""
    for name, value in clean_lake.environment().items():
        monkeypatch.setenv(name, value)
    tampering.publish(clean_lake, tmp_path)
    with database.connect(clean_lake, database.ADMIN, "lake") as connection:
        connection.execute("truncate registry.contract, registry.approval")
    return clean_lake


def approval(**changed: object) -> Approval:
    given = Approval(
        reference="correct_release/run 1",
        kind="correction",
        subject="fines_by_month 2026-03-01",
        reason="a file was  missing",
        asked_by="operator",
        asked_at=ASKED,
        approved=True,
        decided_by="steward",
        decided_at=ANSWERED,
        remark="seen",
    )
    return replace(given, **changed)  # type: ignore[arg-type]


def corrections_of(lake: Settings) -> list[str]:
    with database.connect(lake, "publisher", "lake") as connection:
        return [line.body["mart"] for line in ledger.lines(connection) if line.kind == CORRECTION]


def recorded(lake: Settings) -> list[Approval]:
    with database.connect(lake, "steward", "lake") as connection:
        return approvals.approvals(connection)


def test_a_proposal_says_what_is_published_again_and_what_it_spends(published: Settings) -> None:
    proposal = approvals.propose_correction(published, "fines_by_month", MARCH, "a file was missing")
    assert "fines_by_month of 2026-03-01 to 2026-03-31" in proposal
    assert "a file was missing" in proposal
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in proposal.splitlines() if line[:1] == "|"]
    shares = {mart: plan().marts[mart].spends for mart in tampering.MARTS}
    assert [row for row in table if row[0] in shares] == [[mart, exact(shares[mart])] for mart in sorted(shares)]
    spends, limit = sum(shares.values(), Fraction(0)), plan().budgets["vehicles"].limit
    assert table[-1] == ["vehicles, per vehicle-month", "2026-03", *map(exact, (limit, limit, spends, limit - spends))]
    assert "hanged" not in proposal, "whoever may see the question is not told whether anything changed"
    assert not corrections_of(published)  # asking does nothing
    with pytest.raises(RefusedError, match="was ever published"):
        approvals.propose_correction(published, "fines_by_month", date(2026, 4, 1), "no such month")


def test_a_correction_over_the_limit_is_refused_before_anybody_is_asked(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    approvals.carry_out_correction(published, approval(), "fines_by_month", MARCH)
    with database.connect(published, "publisher", "lake") as connection:
        book = Book(ledger.lines(connection))
    asked_for = sum((plan().marts[mart].spends for mart in tampering.MARTS), Fraction(0))
    assert book.committed_to_corrections(plan(), "vehicles", "2026-03") == asked_for
    tight = plan().budgets["vehicles"].model_copy(update={"limit": asked_for})
    small = plan().model_copy(update={"budgets": {**plan().budgets, "vehicles": tight}})
    monkeypatch.setattr(corrections, "plan", lambda: small)
    unit = Unit(mart="fines_profile", first_day=date(2026, 1, 1), last_day=date(2026, 3, 31))
    with pytest.raises(RefusedError, match=r"overdraw budget vehicles: .*, 0 is left for corrections in 2026-03"):
        list(corrections._prices(book, ["fines_profile"], unit))


def test_a_correction_of_what_did_not_change_is_offered_with_a_warning(published: Settings) -> None:
    offered = CliRunner().invoke(app, ["correct", "fines_by_month", "2026-03-01"])
    assert offered.exit_code == 0, offered.output
    assert "| fines_by_day | " in offered.stdout
    assert "Nothing changed: since fines_by_month of 2026-03-01 to 2026-03-31 was published" in offered.stdout
    assert "nothing is done: to ask for it, say why (--reason)" in offered.stdout
    assert not corrections_of(published)
    with database.connect(published, "pipeline", "lake") as connection:
        for delivery, day in (("e", date(2026, 3, 11)), ("f", date(2026, 3, 12))):  # the first one was published
            registry.add_commit(
                connection,
                silo="verbalisations",
                dataset="verbalisations",
                delivery_id=delivery * 64,
                days=[day],
                snapshot_id=None,
            )
        connection.commit()
    offered = CliRunner().invoke(app, ["correct", "fines_by_month", "2026-03-01"])
    assert offered.exit_code == 0, offered.output
    assert "Nothing changed" not in offered.stdout


def test_what_was_approved_is_done_once_and_recorded(published: Settings) -> None:
    done = approvals.carry_out_correction(published, approval(), "fines_by_month", MARCH)
    assert done == sorted(tampering.MARTS)
    # The task was killed after this and is run again.
    again = approval(decided_at=datetime(2026, 6, 1, tzinfo=UTC), decided_by="somebody else")
    assert approvals.carry_out_correction(published, again, "fines_by_month", MARCH) == ["fines_by_month"]
    assert sorted(corrections_of(published)) == sorted(tampering.MARTS)
    assert recorded(published) == [approval()]
    receipt = object_store.get_json(object_store.client(published, "steward"), "receipts", approval().receipt_key)
    assert receipt == {**approval().as_json(), "same_person": False}
    assert (receipt["asked_by"], receipt["decided_by"], receipt["decided_at"], receipt["reason"]) == (
        "operator",
        "steward",
        "2026-05-02T09:00:00+00:00",
        "a file was  missing",
    )


def test_what_was_refused_is_recorded_and_not_done(published: Settings) -> None:
    refused = approval(approved=False, remark="not worth the budget")
    assert approvals.carry_out_correction(published, refused, "fines_by_month", MARCH) == []
    assert not corrections_of(published)
    assert recorded(published) == [refused]
    # The first answer holds: the same run cannot be answered otherwise later.
    assert approvals.carry_out_correction(published, approval(), "fines_by_month", MARCH) == []
    assert not corrections_of(published)


def test_only_the_publisher_records_answers_and_nobody_changes_them(published: Settings) -> None:
    approvals.record(published, approval())
    for role, statement in (
        ("pipeline", "insert into registry.approval (reference) values ('run')"),
        ("publisher", "update registry.approval set approved = true"),
        ("publisher", "delete from registry.approval"),
        ("steward", "delete from registry.approval"),
    ):
        with (
            database.connect(published, role, "lake") as connection,
            pytest.raises(psycopg.Error, match=r"permission denied|read-only"),
        ):
            connection.execute(statement)


# --- the command -----------------------------------------------------------------------------------------------------


def test_without_airflow_the_command_corrects_and_says_who_did(published: Settings) -> None:
    done = CliRunner().invoke(app, ["correct", "fines_by_month", "2026-03-01", "--reason", "a file was missing"])
    assert done.exit_code == 0, done.output
    [answer] = recorded(published)
    assert answer.approved
    assert answer.decided_by.endswith("(command line)")
    assert answer.reference.startswith("command/")
    assert sorted(corrections_of(published)) == sorted(tampering.MARTS)


def test_beside_airflow_the_command_asks_and_does_nothing(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    found = endpoints.load(published)
    asked: list[tuple[str, dict[str, str], str | None]] = []

    def ask(_: Settings, dag_id: str, conf: dict[str, str], login: str | None) -> str:
        asked.append((dag_id, conf, login))
        return "where it is answered"

    earlier = named("tows").model_copy(update={"version": "0.9.0"})
    with database.connect(published, "publisher", "lake") as connection:
        put_in_force(connection, earlier, ASKED, approval=None)
    endpoints.save(published, found.model_copy(update={"airflow_url": "http://127.0.0.1:1"}))
    monkeypatch.setattr(steward_requests, "ask", ask)
    try:
        done = CliRunner().invoke(app, ["correct", "fines_by_month", "2026-03-01", "--reason", "a file was missing"])
        held = CliRunner().invoke(
            app, ["contract", "approve", "tows", "--reason", "a new register", "--as", "a.martin"]
        )
    finally:
        endpoints.save(published, found)
    assert done.exit_code == 0, done.output
    assert "a steward has to approve" in done.output
    assert asked == [
        (
            "correct_release",
            {"mart": "fines_by_month", "first_day": "2026-03-01", "reason": "a file was missing"},
            None,
        ),
        ("change_contract", {"dataset": "tows", "reason": "a new register"}, "a.martin"),
    ]
    assert held.exit_code == 0, held.output
    assert not corrections_of(published)
    assert not recorded(published)


# --- contracts -------------------------------------------------------------------------------------------------------


def contract(version: str, **columns: str) -> Document:
    return Document(
        kind="dataset",
        name="essai",
        version=version,
        key=("key",),
        table=Side(
            columns={
                name: Column(type=kind, nullable=True, classification="public")
                for name, kind in {"key": "String", **columns}.items()
            }
        ),
    )


def test_small_versions_go_in_force_by_themselves_and_a_major_one_waits_for_its_steward(published: Settings) -> None:
    first, minor, major = contract("1.0.0"), contract("1.1.0", zone="String"), contract("2.0.0", zone="Int64")
    with database.connect(published, "pipeline", "lake") as connection:
        for document in (first, minor, minor):
            admit(connection, document, ASKED)
            assert in_force(connection, "dataset", "essai") == document
        with pytest.raises(
            ContractHeldError, match=r"2\.0\.0 of the contract of dataset essai is not approved, 1\.1\.0"
        ):
            admit(connection, major, ASKED)
        connection.commit()

    proposal = approvals.propose_contract(published, major, "the zones are numbers now")
    assert "the zones are numbers now" in proposal
    assert "version 2.0.0 instead of 1.1.0" in proposal
    assert "major: column zone is Int64 instead of String" in proposal
    with pytest.raises(RefusedError, match=r"1\.1\.0 .* is in force"):
        approvals.propose_contract(published, minor, "again")
    with pytest.raises(RefusedError, match=r"1\.2\.0 .* needs no approval"):
        approvals.propose_contract(published, contract("1.2.0", zone="String"), "not needed")

    question = approval(kind="contract", subject="essai 2.0.0", reference="change_contract/run 1")
    assert not approvals.carry_out_contract(published, replace(question, approved=False), major)
    with database.connect(published, "pipeline", "lake") as connection, pytest.raises(ContractHeldError):
        admit(connection, major, ASKED)

    yes = replace(question, reference="change_contract/run 2")
    installed_since = contract("3.0.0", zone="Date")
    with pytest.raises(RefusedError, match=r"essai 2\.0\.0 was approved, and essai 3\.0\.0 is installed since"):
        approvals.carry_out_contract(published, replace(yes, reference="change_contract/run 3"), installed_since)
    assert approvals.carry_out_contract(published, yes, major)
    assert approvals.carry_out_contract(published, yes, major)  # killed and run again
    with database.connect(published, "pipeline", "lake") as connection:
        admit(connection, major, ASKED)
        with pytest.raises(ContractHeldError):
            admit(connection, minor, ASKED)  # nor does anybody go back unasked
        assert connection.execute(
            "select version, approval from registry.contract where name = 'essai' order by seq"
        ).fetchall() == [("1.0.0", None), ("1.1.0", None), ("2.0.0", "change_contract/run 2")]


def test_a_contract_that_changed_under_its_number_is_held_with_what_to_do(published: Settings) -> None:
    first = contract("1.0.0", zone="String", hour="Int32")
    with database.connect(published, "pipeline", "lake") as connection:
        admit(connection, first, ASKED)
        for document, needs in (
            (contract("1.0.0", zone="Int64", hour="Int32"), "2.0.0"),
            (contract("1.0.1", zone="String", hour="Int32", day="Date"), "1.1.0"),
        ):
            with pytest.raises(ContractHeldError, match=rf"needs at least version {re.escape(needs)}\. Declare it"):
                admit(connection, document, ASKED)
        assert in_force(connection, "dataset", "essai") == first
        admit(connection, contract("1.4.0", zone="String", hour="Int32", day="Date"), ASKED)  # versions may be skipped
