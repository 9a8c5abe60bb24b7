"""calanque ledger, correct and withdraw, as somebody at a terminal meets them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import tampering
from typer.testing import CliRunner

from calanque.cli import app
from infra.settings import Settings
from privacy.plan import plan
from privacy.spending import Book, RefusedError, exact
from publication.releases import release

pytestmark = pytest.mark.live


@pytest.fixture
def published(clean_lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """March of the monthly tables of fines, in the lake of this environment."""
    for name, value in clean_lake.environment().items():
        monkeypatch.setenv(name, value)
    tampering.publish(clean_lake, tmp_path)
    return clean_lake


def document(code: int = 0) -> dict[str, object]:
    done = CliRunner().invoke(app, ["ledger", "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_budgets_are_told_by_month_and_by_year(published: Settings) -> None:
    found = document()
    spent = sum(plan().marts[mart].spends for mart in tampering.MARTS)
    vehicles = plan().budgets["vehicles"]
    assert found["verified"]
    assert found["budgets"] == [
        {
            "budget": "vehicles",
            "unit": vehicles.unit,
            "currency": "rho",
            "month": "2026-03",
            "limit": exact(vehicles.limit),
            "spent": exact(spent),  # type: ignore[arg-type]
            "left": exact(vehicles.limit - spent),
            "corrections": "0",
        }
    ]
    assert found["years"] == [{"budget": "vehicles", "year": "2026", "spent": exact(spent), "corrections": "0"}]  # type: ignore[arg-type]
    table = CliRunner().invoke(app, ["ledger"])
    assert table.exit_code == 0
    assert "3 lines, 3 periods published; verified" in table.stdout


def test_a_lake_that_counts_in_epsilon_is_verified_and_publishes_nothing_more(
    clean_lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lake whose lines a version wrote that counted in pure differential privacy."""
    for name, value in clean_lake.environment().items():
        monkeypatch.setenv(name, value)
    written = release.release_line

    def in_epsilon(*arguments: object, **named: object) -> tuple[str, dict[str, object]]:
        kind, body = written(*arguments, **named)  # type: ignore[arg-type]
        return kind, {**body, "currency": "epsilon", "limit": "1", "spends": "0.02", "mechanism": "laplace"}

    with monkeypatch.context() as patched:
        patched.setattr(release, "release_line", in_epsilon)
        patched.setattr(Book, "refuse_other_currency", lambda _: None)  # in that version it was no other
        tampering.publish(clean_lake, tmp_path)
    (account,) = document()["budgets"]  # type: ignore[misc]
    told = [account[name] for name in ("currency", "limit", "spent", "left")]
    assert told == ["epsilon", "1", "0.06", "0.94"]

    tampering.publish(clean_lake, tmp_path, "b2", first_day=tampering.APRIL)
    assert document()["lines"] == 3
    for refusal in (
        tampering.held(clean_lake, "fines_by_day"),
        str(CliRunner().invoke(app, ["correct", "fines_by_day", "2026-03-01"]).exception),
    ):
        assert "its ledger counts in epsilon, this version of Calanque in rho" in refusal
        assert "deliver to it what happens from 2026-04-01 on" in refusal


def test_what_is_broken_is_told_and_the_exit_code_says_so(published: Settings) -> None:
    tampering.overrule(published, "delete from ledger.line where seq = 2")
    found = document(code=1)
    assert not found["verified"]
    table = CliRunner().invoke(app, ["ledger"])
    assert table.exit_code == 1
    assert "line 2 is missing from the ledger" in table.stdout
    assert "BROKEN" in table.stdout


def test_corrections_and_withdrawals_are_asked_for_with_a_reason(published: Settings) -> None:
    asked = CliRunner().invoke(app, ["correct", "fines_by_day", "2026-03-01", "--reason", "a file was missing"])
    assert asked.exit_code == 0, asked.output
    assert "the next build corrects fines_by_day, fines_by_month, fines_by_nature" in asked.stdout
    withdrawn = CliRunner().invoke(app, ["withdraw", "fines_by_month", "2026-03-01", "--reason", "wrong zones"])
    assert withdrawn.stdout == "fines_by_month v2: 0 rows\n"
    found = document()
    assert {(each["mart"], each["reason"]) for each in found["corrections"]} == {  # type: ignore[attr-defined]
        (mart, "a file was missing") for mart in tampering.MARTS
    }
    (withdrawal,) = found["withdrawals"]  # type: ignore[misc]
    assert (withdrawal["mart"], withdrawal["reason"], withdrawal["edition"]) == ("fines_by_month", "wrong zones", 1)
    again = CliRunner().invoke(app, ["correct", "fines_by_day", "2026-03-01", "--reason", "once more"])
    assert isinstance(again.exception, RefusedError)
    assert "was asked for already: a file was missing" in str(again.exception)
