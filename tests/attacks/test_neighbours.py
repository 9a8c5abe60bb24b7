"""P16 in its whole form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks import neighbours

pytestmark = pytest.mark.slow


def test_p16_one_unit_moves_no_count_by_more_than_its_bound(tmp_path: Path) -> None:
    for finding in neighbours.attack(tmp_path):
        assert finding.control.succeeded, finding.document()
        assert finding.within, finding.document()
