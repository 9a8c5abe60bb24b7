"""P15 in its whole form: it takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.settings import Settings
from tests.attacks import readable

pytestmark = pytest.mark.live


def test_p15_nothing_that_exact_counts_decide_can_be_read(lake: Settings, tmp_path: Path) -> None:
    finding = readable.attack(lake, tmp_path)
    assert finding.control.succeeded, finding.document()
    assert finding.within, finding.document()
