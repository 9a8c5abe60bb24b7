"""First days kept, for any day and any limit."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.calendar.clock import add_months
from infra.keys.store import MONTHS
from ingestion.contracts import retention_limits
from ingestion.contracts.retention_limits import Limit
from ingestion.register import silos

DAYS = st.dates(date(2020, 1, 1), date(2040, 12, 31))
LIMITS = st.builds(Limit, days=st.integers(1, 400)) | st.builds(Limit, months=st.integers(1, 40))


@given(DAYS, LIMITS)
def test_the_last_day_of_something_is_the_first_on_which_it_is_not_kept(day: date, limit: Limit) -> None:
    gone = limit.last_day(day)
    assert limit.first_day_kept(gone) > day
    assert limit.first_day_kept(gone - timedelta(days=1)) <= day


@given(DAYS, LIMITS)
def test_what_is_gone_never_comes_back(today: date, limit: Limit) -> None:
    assert limit.first_day_kept(today) <= limit.first_day_kept(today + timedelta(days=1))


@pytest.mark.parametrize(
    ("limit", "day", "gone"),
    [
        (Limit(days=7), date(2026, 2, 25), date(2026, 3, 4)),
        (Limit(months=13), date(2026, 1, 15), date(2027, 2, 15)),
        (Limit(months=13), date(2026, 1, 31), date(2027, 3, 1)),
        (Limit(months=1), date(2028, 1, 30), date(2028, 3, 1)),
    ],
)
def test_examples(limit: Limit, day: date, gone: date) -> None:
    assert limit.last_day(day) == gone


def test_the_register_and_the_noise_keys_agree() -> None:
    """Noise is there for as long as the rows it was drawn for could be counted again, and no month longer."""
    months = [declared.retention.conformed_months for declared in silos().values()]
    last_month_of_quarter = 2
    first_month_without_rows = max(month for month in months if month is not None) + 1
    assert MONTHS["noise"] == last_month_of_quarter + first_month_without_rows
    last_rows = add_months(date(2026, 1, 1), last_month_of_quarter + 1) - timedelta(days=1)
    limit = retention_limits.conformed("verbalisations")
    assert limit is not None
    assert limit.last_day(last_rows) <= add_months(date(2026, 1, 1), MONTHS["noise"])


def test_what_the_register_does_not_know_is_kept_no_longer_than_anything_else() -> None:
    for of_silo in (retention_limits.landing, retention_limits.quarantine):
        assert of_silo("nobody").days <= min(of_silo(silo).days for silo in silos())
