"""Every way of tampering with the ledger or a release is detected or refused, and says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tampering
from released import in_bi

from infra.settings import Settings
from privacy import ledger
from publication.contracts import CONTRACTS
from publication.releases import verifying

pytestmark = pytest.mark.live


def test_what_nobody_touched_is_verified(clean_lake: Settings, tmp_path: Path) -> None:
    assert verifying.verify(clean_lake).breaks == ()
    tampering.publish(clean_lake, tmp_path)
    tampering.publish(clean_lake, tmp_path, "b2", first_day=tampering.APRIL)
    found = verifying.verify(clean_lake)
    assert found.breaks == ()
    assert [line.seq for line in found.lines] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("drill", "answer"), tampering.DRILLS.items(), ids=[drill.__name__ for drill in tampering.DRILLS]
)
def test_tampering_is_detected_or_refused(
    clean_lake: Settings, tmp_path: Path, drill: Callable[[Settings, Path], str], answer: str
) -> None:
    assert answer in drill(clean_lake, tmp_path)


def test_a_refused_release_shows_nothing(clean_lake: Settings, tmp_path: Path, analyst: object) -> None:
    tampering.publish(clean_lake, tmp_path)
    before = in_bi(analyst, CONTRACTS["fines_by_day"])  # type: ignore[arg-type]
    tampering.overrule(clean_lake, "delete from ledger.line where seq = 2")
    with pytest.raises(ledger.LedgerBrokenError, match="nothing is released while the ledger is broken"):
        tampering.publish(clean_lake, tmp_path, "b2", first_day=tampering.APRIL)
    assert in_bi(analyst, CONTRACTS["fines_by_day"]).equals(before)  # type: ignore[arg-type]
