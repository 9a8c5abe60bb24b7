"""A quarter adds up to its published months, whatever came late for them, and whichever was corrected since."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from conformed_lake import populate
from ledger_lines import chain, released

from infra import database, object_store, registry
from infra.build_spec import Unit
from infra.calendar import clock
from infra.settings import Settings
from privacy.spending import Book, correction_line, withdrawal_line
from publication.builds import building, month_totals
from publication.builds.candidates import Mart
from publication.builds.rebuilding import Rebuilt, rebuild
from publication.releases import release
from publication.releases.manifest import Manifest
from stewardship import corrections

QUARTER = Unit(mart="tows_profile", first_day=date(2026, 1, 1), last_day=date(2026, 3, 31))
MONTHS = tuple(
    Unit(mart="tows_by_month", first_day=first, last_day=last)
    for first, last in (
        (date(2026, 1, 1), date(2026, 1, 31)),
        (date(2026, 2, 1), date(2026, 2, 28)),
        (date(2026, 3, 1), date(2026, 3, 31)),
    )
)
PROFILE = Mart(
    name="tows_profile",
    silo="tows",
    grain=("period_start", "time_band"),
    description="",
    columns=(),
    relation="",
    version="",
    fitted_to=("tows_by_month",),
)
ALL = frozenset(clock.days(date(2025, 1, 1), date(2026, 12, 31)))


def test_a_quarter_waits_for_every_month_that_will_be_published() -> None:
    two = Book(chain(*map(released, MONTHS[:2])))
    assert month_totals.waits(PROFILE, QUARTER, two, (), ALL)
    assert not month_totals.waits(PROFILE, QUARTER, two, [("tows_by_month", date(2026, 3, 1))], ALL)
    assert not month_totals.waits(PROFILE, QUARTER, Book(chain(*map(released, MONTHS))), (), ALL)
    from_february = frozenset(clock.days(date(2026, 2, 3), date(2026, 12, 31)))
    assert not month_totals.waits(PROFILE, QUARTER, Book(chain(released(MONTHS[2]))), (), from_february)


def test_the_newest_editions_are_named_and_what_was_withdrawn_is_not() -> None:
    lines = [*map(released, MONTHS)]
    lines.append(correction_line(Book(chain(*lines)), "tows_by_month", date(2026, 1, 1), "a file was missing"))
    lines.append(released(MONTHS[0].model_copy(update={"edition": 2})))
    lines.append(withdrawal_line(Book(chain(*lines)), "tows_by_month", date(2026, 2, 1), 2, "a mistake"))
    named = month_totals.published(PROFILE, QUARTER, Book(chain(*lines)))
    assert [(each.first_day, each.edition) for each in named] == [(date(2026, 1, 1), 2), (date(2026, 3, 1), 1)]


@pytest.mark.live
@pytest.mark.slow
def test_a_quarter_adds_up_to_its_months_for_good(clean_lake: Settings) -> None:
    days = [QUARTER.first_day + timedelta(days=number) for number in range(90)]
    populate(clean_lake, days[:59], ["tows"])
    assert {each.mart for each in _publish(clean_lake)} == {"tows_by_month", "tows_by_month_and_reason"}
    populate(clean_lake, days[:31], ["tows"], seed=5)  # as many again, too late for January
    populate(clean_lake, days[59:], ["tows"], seed=6)
    assert "tows_profile" in {each.mart for each in _publish(clean_lake)}

    manifests = _manifests(clean_lake)
    (part,) = manifests["tows_profile"].parts
    named = {(each.mart, each.first_day): (each.edition, each.sha256) for each in part.fitted_to}
    assert named == {
        (mart, each.first_day): (1, each.sha256)
        for mart in ("tows_by_month", "tows_by_month_and_reason")
        for each in manifests[mart].parts
    }
    # What was hidden of the quarter is under its threshold; the late third of all rows is not in it.
    months = _shown(clean_lake, manifests["tows_by_month"])
    profile = _shown(clean_lake, manifests["tows_profile"])
    assert 0 <= months - profile < 206
    assert len(days) * 200 - 500 < months < len(days) * 200 + 500
    document = object_store.get_json(object_store.client(clean_lake, "analyst"), "lake", manifests["tows_profile"].key)
    assert len(document["parts"][0]["fitted_to"]) == 6

    corrections.correct(clean_lake, "tows_by_month", date(2026, 1, 1), "a file came late")
    assert {each.mart for each in _publish(clean_lake)} == {"tows_by_month", "tows_by_month_and_reason"}
    assert _shown(clean_lake, _manifests(clean_lake)["tows_by_month"]) > months + 5_000
    assert rebuild(clean_lake) == Rebuilt(10, (), {})


def _publish(settings: Settings) -> list[release.Release]:
    built = building.build(settings)
    assert built is not None
    assert not built.failed
    return release.release(settings, built.build_id)


def _manifests(settings: Settings) -> dict[str, Manifest]:
    with database.connect(settings, "publisher", "lake") as connection:
        newest = registry.newest_releases(connection)
    return {mart: Manifest.model_validate(row.manifest) for mart, row in newest.items()}


def _shown(settings: Settings, manifest: Manifest) -> int:
    store = object_store.client(settings, "analyst")
    tables = [month_totals.files.read(store, part) for part in manifest.parts]
    return sum(count or 0 for table in tables for count in table["tows"].to_pylist())
