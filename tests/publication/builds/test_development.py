"""dbt for whoever changes models: on the newest quarter, in a database of its own, with noise of its own."""

from __future__ import annotations

from datetime import date

import duckdb
import pytest
from conformed_lake import populate

from infra.calendar import clock
from infra.settings import Settings
from publication.builds import development
from publication.builds.development import NothingToReadError


@pytest.mark.live
@pytest.mark.slow
def test_dbt_runs_on_the_newest_quarter_and_nothing_of_it_is_kept(clean_lake: Settings) -> None:
    with pytest.raises(NothingToReadError, match="declared complete for any day"):
        development.run(clean_lake, "build", [])
    populate(clean_lake, [*clock.days(date(2026, 1, 1), date(2026, 3, 31))], ["tows"])
    populate(clean_lake, [*clock.days(date(2026, 4, 1), date(2026, 4, 30))], ["tows"])
    keys = sorted(clean_lake.keys_dir.rglob("*"))
    found = []
    for _ in range(2):
        folder, code = development.run(clean_lake, "build", ["--select", "+int_tows_by_month_measured"])
        assert code == 0  # keys of models included
        with duckdb.connect(str(folder / "build.duckdb"), read_only=True) as connection:
            query = "select period_start, exact, measured from intermediate.int_tows_by_month_measured"
            found.append(connection.sql(query).fetchall())
    assert [(start, exact) for start, exact, _ in found[0]] == [(start, exact) for start, exact, _ in found[1]]
    assert [start for start, *_ in found[0]] == [date(2026, 4, 1)]
    assert found[0] != found[1]  # noise of its own, each time
    assert sorted(clean_lake.keys_dir.rglob("*")) == keys
