"""P16: its quick form, and the whole one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks import neighbours

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("quarters", [(1,), pytest.param(neighbours.QUARTERS, marks=pytest.mark.long)], ids=len)
def test_p16_one_unit_moves_no_count_by_more_than_its_bound(tmp_path: Path, quarters: tuple[int, ...]) -> None:
    for finding in neighbours.attack(tmp_path, quarters):
        assert finding.control.succeeded, finding.document()
        assert finding.within, finding.document()
