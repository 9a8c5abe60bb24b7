"""Which clock a lake goes by: another than the machine's only if it was made as a drill, and a doubted one never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.calendar.clock import add_months
from infra.calendar.trusted_clock import ClockDoubtedError
from infra.machines import provisioning
from infra.settings import Settings
from ingestion import pipeline
from ingestion.delivery import landing
from privacy import key_duty
from stewardship import erasure
from stewardship.retention import job
from tests.stewardship.retention import city_hall as city

pytestmark = [pytest.mark.live, pytest.mark.slow]


def test_only_a_drill_has_another_clock_and_no_lake_becomes_one(mortal: Settings, tmp_path: Path) -> None:
    today = city.today()
    city.deliver(mortal, "tows", [city.tow(today, "AA-001-AA")], tmp_path)
    rows, alive = city.rows(mortal, "tows"), [key for key in key_duty.keys(mortal) if key.state == "alive"]
    mark = mortal.drill_mark.rename(mortal.drill_mark.with_suffix(".away"))  # as if it had not been made as one
    try:
        later = city.at(mortal, add_months(today, 40))
        city.drop_file(mortal, "tows", [city.tow(today, "AA-002-AA")], tmp_path)
        for act in (
            lambda: job.run(later, run_id="by mistake"),
            lambda: key_duty.destroy_due(later, run="by mistake"),
            lambda: landing.sweep(later, "tows"),
            lambda: erasure.erase(later, "AA-001-AA", run="by mistake"),
            lambda: provisioning.provision(mortal),  # CALANQUE_DRILL, too late
        ):
            with pytest.raises(ClockDoubtedError, match="a drill"):
                act()
        assert not mortal.drill_mark.exists()
    finally:
        mark.rename(mortal.drill_mark)
    assert [key for key in key_duty.keys(mortal) if key.state == "alive"] == alive
    assert city.rows(mortal, "tows").equals(rows)


def test_days_of_landing_and_rules_of_dates_go_by_the_lakes_clock(mortal: Settings, tmp_path: Path) -> None:
    today, file = city.today(), tmp_path / "clock"
    landing.sweep(mortal, "tows")
    pipeline.ingest(mortal, "tows")
    behind = mortal.model_copy(update={"now_file": file})
    file.write_text((datetime.now(UTC) - timedelta(days=3)).isoformat())
    city.drop_file(mortal, "tows", [city.tow(today, "AA-004-AA")], tmp_path / "sent")
    with pytest.raises(ClockDoubtedError, match="nothing is landed"):  # its bytes would go three days early
        landing.sweep(behind, "tows")
    assert [landed.outcome for landed in landing.sweep(mortal, "tows").landed] == ["new"]

    [receipt] = pipeline.ingest(city.at(mortal, today - timedelta(days=30)), "tows")
    assert receipt.tally.by_rule == {"date_out_of_range": 1}
