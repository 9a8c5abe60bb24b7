"""What stewards say of days: declared, taken back while nothing is published of them, periods and deliveries let go."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import tampering
from conformed_lake import populate
from test_approvals import approval
from typer.testing import CliRunner

from calanque.cli import app
from infra import database, registry
from infra.calendar import clock
from infra.calendar.days import DayRange
from infra.settings import Settings
from privacy.spending import RefusedError
from publication import report
from stewardship import approvals, covering
from stewardship.covering import Cover, GoAhead

pytestmark = pytest.mark.live

FEBRUARY = DayRange(first_day=date(2026, 2, 1), last_day=date(2026, 2, 28))


@pytest.fixture
def settings(clean_lake: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An empty lake, that of the environment."""
    for name, value in clean_lake.environment().items():
        monkeypatch.setenv(name, value)
    with database.connect(clean_lake, database.ADMIN, "lake") as connection:
        connection.execute("truncate registry.approval")
    return clean_lake


def covered(settings: Settings, silo: str = "tows") -> set[date]:
    with database.connect(settings, "steward", "lake") as connection:
        return set(registry.covered_days(connection, [silo])[silo])


def calanque(*arguments: str) -> str:
    ran = CliRunner().invoke(app, list(arguments))
    if ran.exception and not isinstance(ran.exception, SystemExit):
        raise ran.exception
    assert ran.exit_code == 0, ran.output
    return ran.output


def populated(settings: Settings, *days: date) -> None:
    """Rows of tows on days, and nothing declared."""
    populate(settings, days, ["tows"])
    with database.connect(settings, database.ADMIN, "lake") as connection:
        connection.execute("truncate registry.cover")


def test_a_steward_declares_days_and_sees_what_there_is_of_them(settings: Settings) -> None:
    populated(settings, date(2026, 2, 3), date(2026, 2, 4), date(2025, 7, 5))
    said = calanque("cover", "tows")
    assert "600 rows lie on 3 days that nobody declared (2025-07-05, 2026-02-03 to 2026-02-04)" in " ".join(
        said.split()
    )
    assert "calanque cover tows 2026-02-03 2026-02-04 --reason" in " ".join(said.split())
    said = calanque("cover", "tows", "2026-02-01", "2026-02-28", "--except", "2026-02-14/2026-02-15", "--reason", "all")
    assert "tows is complete for 26 days" in said
    assert "Of 24 of these days the lake holds no row" in said
    assert covered(settings) == set(FEBRUARY.days) - {date(2026, 2, 14), date(2026, 2, 15)}
    shown = json.loads(calanque("cover", "tows", "--json"))
    assert shown == {
        "silo": "tows",
        "covered": [["2026-02-01", "2026-02-13"], ["2026-02-16", "2026-02-28"]],
        "gaps": [["2026-02-14", "2026-02-15"]],
        "undeclared": {"2025-07-05": 200},
    }
    with database.connect(settings, "steward", "lake") as connection:
        (line,) = registry.covers(connection, "tows")
        (recorded,) = approvals.approvals(connection)
    assert (line.source, line.reason) == ("steward", "all")
    assert recorded.kind == "cover"
    assert recorded.reference in line.said_by


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (("2099-01-01", "2099-01-02"), "2099-01-02 is not over"),
        (("2026-02-01", "2026-02-02", "--except", "2026-02-01/2026-02-02"), "no day is left"),
        (("2026-02-01", "2026-02-02", "--except", "Monday"), "'Monday' is neither a day"),
        (("2026-02-02", "2026-02-01"), "is neither a day"),
        (("0026-02-01", "0026-02-02"), "none before 2000"),
        (("2026-02-01", "--take-back"), "nobody declared tows complete for 2026-02-01"),
    ],
)
def test_what_cannot_be_declared_is_refused_with_a_sentence(
    settings: Settings, asked: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(RefusedError, match=sentence):
        calanque("cover", "tows", *asked, "--reason", "because")
    assert covered(settings) == set()


def test_what_was_seen_is_proposed_when_no_days_are_named(settings: Settings) -> None:
    asked = {"silo": "tows", "first": None, "last": None, "but": "", "take_back": False}
    with pytest.raises(RefusedError, match="no rows of tows on days that nobody declared"):
        covering.asked(settings, asked)
    populated(settings, date(2026, 2, 3), date(2026, 2, 4))
    cover = covering.asked(settings, asked)
    assert cover == Cover("tows", (date(2026, 2, 3), date(2026, 2, 4)))
    body = covering.propose_cover(settings, cover, "seen")
    assert "| 2026-02-03 to 2026-02-04 | 400 |" in body


def test_an_answer_is_carried_out_once_and_a_refusal_never(settings: Settings) -> None:
    cover = Cover("tows", tuple(FEBRUARY.days))
    no = approval(kind="cover", subject=cover.subject, reference="declare_cover/run 1", approved=False)
    assert not covering.carry_out_cover(settings, no, cover)
    assert covered(settings) == set()
    yes = replace(no, reference="declare_cover/run 2", approved=True)
    for _ in range(2):  # a task is repeated after a kill
        assert covering.carry_out_cover(settings, yes, cover)
    with database.connect(settings, "steward", "lake") as connection:
        assert len(registry.covers(connection, "tows")) == 1


def test_a_mistake_can_be_taken_back_until_something_of_it_is_published(settings: Settings, tmp_path: Path) -> None:
    calanque("cover", "tows", "2026-02-01", "2026-02-28", "--reason", "all")
    calanque("cover", "tows", "2026-02-14", "--take-back", "--reason", "half of it is missing")
    assert covered(settings) == set(FEBRUARY.days) - {date(2026, 2, 14)}
    tampering.publish(settings, tmp_path)  # March of fines
    with pytest.raises(RefusedError, match=r"fines_\w+ of 2026-03-01 to 2026-03-31 was published with 2026-03-20"):
        calanque("cover", "verbalisations", "2026-03-20", "--take-back", "--reason", "a mistake")


def test_a_period_with_missing_days_waits_until_a_steward_lets_it_go(settings: Settings) -> None:
    populated(settings, date(2026, 2, 3))
    calanque("cover", "tows", "2026-02-01", "2026-02-26", "--reason", "all there is")
    waits = {(wait.silo, wait.first_day, wait.last_day): wait for wait in report.waiting(settings)}
    wait = waits["tows", FEBRUARY.first_day, FEBRUARY.last_day]
    assert wait.missing == (date(2026, 2, 27), date(2026, 2, 28))
    assert "nobody declared 2 of its 28 days (2026-02-27 to 2026-02-28)" in wait.sentence
    assert "`calanque publish tows 2026-02-01 2026-02-28 --reason ...`" in wait.sentence
    shown = json.loads(calanque("report", "--json"))
    assert {
        "silo": "tows",
        "first_day": "2026-02-01",
        "last_day": "2026-02-28",
        "missing": ["2026-02-27", "2026-02-28"],
        "deliveries": [],
    } in shown["waiting"]
    with pytest.raises(RefusedError, match="no period of tows is from 2026-02-01 to 2026-02-27"):
        calanque("publish", "tows", "2026-02-01", "2026-02-27", "--reason", "a strike")
    said = calanque("publish", "tows", "2026-02-01", "2026-02-28", "--reason", "a strike")
    assert "is published from 26 of its 28 days" in said
    assert (FEBRUARY.first_day, FEBRUARY.last_day) not in {
        (wait.first_day, wait.last_day) for wait in report.waiting(settings)
    }


def test_a_delivery_that_nobody_will_read_is_let_go(settings: Settings) -> None:
    calanque("cover", "tows", "2026-02-01", "2026-02-28", "--reason", "all there is")
    with database.connect(settings, "pipeline", "lake") as connection:
        for number, name in enumerate(("lost.csv", "other.csv")):
            registry.add_delivery(
                connection,
                silo="tows",
                delivery_id=f"{number}" * 64,
                object_key="k",
                file_name=name,
                size=1,
                format_name=None,
                corrects=None,
            )
    with pytest.raises(RefusedError, match="0 deliveries of tows that wait to be read begin with 'abc'"):
        covering.propose_go_ahead(settings, GoAhead("tows", delivery="abc"), "why")
    said = calanque("publish", "tows", "--without", "0000", "--reason", "the disk is damaged")
    assert "published without lost.csv (delivery 000000000000)" in said
    (wait,) = (wait for wait in report.waiting(settings) if wait.last_day == FEBRUARY.last_day)
    assert list(wait.waiting.values()) == ["other.csv"]
    answer = approval(kind="publication", subject="tows", reference="publish_as_it_is/run 1", approved=False)
    assert not covering.carry_out_go_ahead(settings, answer, GoAhead("tows", delivery="1111"))


def test_two_ways_of_asking_at_once_are_refused(settings: Settings) -> None:
    for asked in (["publish", "tows"], ["publish", "tows", "2026-02-01", "2026-02-28", "--without", "0"]):
        with pytest.raises(RefusedError, match="name a period by its first and last day, or a delivery"):
            calanque(*asked, "--reason", "why")


def test_a_period_is_told_with_the_instant_it_was_let_go(settings: Settings) -> None:
    calanque("cover", "tows", "2026-02-01", "2026-02-26", "--reason", "all there is")
    before = datetime.now(UTC)
    calanque("publish", "tows", "2026-02-01", "2026-02-28", "--reason", "a strike")
    with database.connect(settings, "steward", "lake") as connection:
        (row,) = registry.go_aheads(connection, ["tows"])
    assert row.missing == list(clock.days(date(2026, 2, 27), date(2026, 2, 28)))
    assert (row.reason, row.delivery_id) == ("a strike", None)
    assert row.said_at >= before
