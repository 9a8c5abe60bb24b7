"""The demo city through a real lake: landed, checked, conformed, committed; then scored from what the lake holds."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from calanque.demo import outcome
from calanque.demo.generate import generate
from calanque.demo.score import score
from infra.city.profile import City
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import landing
from ingestion.register import silos

START = date(2024, 10, 24)  # three days before the clocks go back


@pytest.mark.live
def test_a_real_lake_finds_every_fault_and_turns_nothing_sound_away(lake: Settings, marseille: City) -> None:
    truth = generate(marseille, seed=9, start=START, days=4, scale=0.1, drop_dir=lake.drop_dir)
    for silo in silos():
        swept = landing.sweep(lake, silo)
        assert swept.turned_away == []
        pipeline.ingest(lake, silo)
    result = score(truth, outcome.read(lake))
    assert result.complaints == ()
    assert result.detection == 1.0
    assert result.false_rows == result.false_deliveries == result.misplaced_rows == 0
    assert {(fault.silo, fault.kind) for fault in truth.faults} >= {
        (silo, kind) for silo in silos() for kind in ("late_rows", "corrected_delivery", "resent_delivery")
    }

    # The whole city again, byte for byte: nothing new, nothing doubled.
    again = generate(marseille, seed=9, start=START, days=4, scale=0.1, drop_dir=lake.drop_dir)
    assert again == truth
    for silo in silos():
        assert {landed.outcome for landed in landing.sweep(lake, silo).landed} == {"again"}
        assert pipeline.ingest(lake, silo) == []
    assert score(truth, outcome.read(lake)).is_perfect
    assert START + timedelta(days=3) in {day for delivery in truth.deliveries for day in delivery.loaded}
