"""Deliveries are shown whole on a terminal of 80 columns: ids, file names and reasons."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from calanque.cli import listing

DELIVERY: dict[str, Any] = {
    "silo": "telecom_footfall",
    "delivery": "5ac8df53934900" + "a" * 50,
    "file": "une livraison dont le nom est bien long, 2026-10 (copie 2) - définitif - envoyé le 12 octobre.csv",
    "landed_at": datetime(2026, 10, 12, 8, 5, tzinfo=UTC),
    "format": "presence",
    "corrects": "b" * 64,
    "status": "committed",
    "reason": None,
    "rows_in": 1_234_567,
    "accepted": 1_234_000,
    "quarantined": 567,
    "by_rule": {"under_operator_threshold": 500, "zone_unknown": 60, "dates_month_first": 7},
    "warnings": {"zone_outside_city": 12_345},
}


def test_nothing_is_cut_at_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    reason = "f.csv: column 'motif' of format fourriere is missing. " + "Restore the names of the columns. " * 4
    listing.show([DELIVERY, {**DELIVERY, "status": "refused", "reason": reason, "by_rule": {}, "warnings": {}}])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    whole = re.sub(r"\s+", " ", shown)
    for told in (DELIVERY["delivery"], f"corrects {DELIVERY['corrects']}", DELIVERY["file"], reason.strip()):
        assert told in whole
    assert "quarantined: under_operator_threshold 500, zone_unknown 60, dates_month_first 7" in whole
    assert "with a warning: zone_outside_city 12,345" in whole
    assert whole.count("1,234,567 rows in, 1,234,000 accepted, 567 quarantined") == 1  # a refused one has no rows
