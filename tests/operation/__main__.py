"""``python -m tests.operation``: a month of daily operation through the scheduler, and the same month by a backfill.

Three lakes, one after the other: a month of deliveries with faults, a day at a time, through the real scheduler; the
same deliveries waiting after an outage, brought in by ``calanque backfill`` while today's arrive; the same days by
``calanque run``, without Airflow. Writes what each took, and whether the results are the same, as JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from calanque.cli import following
from calanque.demo import outcome
from calanque.demo.score import score
from infra.machines.airflow import api as airflow_api
from infra.machines.services import lake as services
from infra.settings import Settings
from ingestion.register import silos
from tests.operation import lakes
from tests.operation.lakes import Deliveries

LAND = [f"land_{silo}" for silo in silos()]
SITE = "publish_site"
SETTLED = timedelta(days=40)


def day_by_day(settings: Settings, deliveries: Deliveries, progress: Path) -> dict[str, Any]:
    """Every day's files dropped and followed until the lake is at rest; in the end, all periods are over."""
    walls: dict[str, float] = {}
    failed: list[str] = []
    dropped: dict[str, datetime] = {}
    with airflow_api.connect(settings) as api:
        following.until_known(api, [*LAND, *lakes.MARTS, SITE])
        api.pause(SITE, paused=True)  # what the same work by command leaves out
        for day in deliveries.days:
            lakes.set_clock(settings, lakes.morning_after(day))
            now = datetime.now(UTC)
            lakes.drop(settings, deliveries.by_day[day])
            dropped |= {path.name: now for _, path in deliveries.by_day[day]}
            landing = sorted({f"land_{silo}" for silo, _ in deliveries.by_day[day]})
            runs = lakes.until_at_rest(settings, api, landing, now)
            walls[str(day)] = round(max((run.ended - now).total_seconds() for run in runs if run.ended), 1)
            failed += [f"{run.dag_id} {run.run_id}" for run in runs if run.state != "success"]
            print(f"{day}: {walls[str(day)]} s, {len(runs)} runs", flush=True)
            spread = lakes.spread(list(lakes.latencies(settings, dropped).values()))
            lakes.write(progress, {"wall_seconds_by_day": walls, "file_to_rows_seconds": spread, **lakes.machine()})
        settle(settings, api, deliveries.days[-1])
    found = score(deliveries.truth, outcome.read(settings))
    statuses = lakes.statuses(settings)
    return {
        "wall_seconds_by_day": walls,
        "wall_seconds": lakes.spread(list(walls.values())),
        "file_to_rows_seconds": lakes.spread(list(lakes.latencies(settings, dropped).values())),
        "failed_runs": failed,
        "deliveries_by_day": statuses,
        "without_reason": [day for day, states in statuses.items() if any("without" in state for state in states)],
        "faults": f"{found.found.total()} of {found.injected.total()}",
        "rows_lost_or_doubled": found.misplaced_rows,
        "complaints": list(found.complaints),
        "published_units": len(lakes.published(settings)),
    }


def settle(settings: Settings, api: airflow_api.AirflowApi, last: date) -> None:
    """Move the clock on until every period with the last day in it is over and settled, and build what is due."""
    lakes.set_clock(settings, lakes.morning_after(last) + SETTLED)
    since = datetime.now(UTC) - timedelta(seconds=1)
    api.trigger("build_marts")
    following.until_over(api, ["build_marts"], lakes.MARTS, since=since, seconds=lakes.PATIENCE)


def one_file(settings: Settings, folder: Path) -> list[float]:
    """Seconds from a small file to its rows, in a lake at rest, for the first delivery of each silo."""
    found = []
    with airflow_api.connect(settings) as api:
        deliveries = lakes.stage(settings, folder, start=date(2026, 1, 12), days=1, scale=0.02, seed=99)
        first = dict(reversed(deliveries.by_day[deliveries.days[0]]))  # of each silo
        for silo, path in first.items():
            now = datetime.now(UTC)
            lakes.drop(settings, [(silo, path)])
            lakes.until_at_rest(settings, api, [f"land_{silo}"], now)
            found += lakes.latencies(settings, {path.name: now}).values()
    return found


def by_backfill(settings: Settings, deliveries: Deliveries) -> dict[str, Any]:
    """All days but the last wait, as after an outage; the last one's files arrive while the others are brought in."""
    *before, today = deliveries.days
    lakes.set_clock(settings, lakes.morning_after(today) + SETTLED)
    with airflow_api.connect(settings) as api:
        following.until_known(api, ["city_day", *LAND, *lakes.MARTS, SITE])
        for dag_id in (*LAND, SITE):
            api.pause(dag_id, paused=True)
        for day in before:
            lakes.drop(settings, deliveries.by_day[day])
        since, began = datetime.now(UTC) - timedelta(seconds=1), time.monotonic()
        backfill = lakes.calanque(settings, "backfill", "--from", str(before[0]), "--to", str(before[-1]), "--json")
        while not any(run.dag_id == "city_day" for run in api.active()):
            assert backfill.poll() is None, backfill.communicate()[0]
            lakes.wait(0.2)
        for dag_id in LAND:
            api.pause(dag_id, paused=False)
        lakes.drop(settings, deliveries.by_day[today])
        landing = sorted({f"land_{silo}" for silo, _ in deliveries.by_day[today]})
        today_began = time.monotonic()
        said, _ = backfill.communicate(timeout=3 * lakes.PATIENCE)
        wall = time.monotonic() - began
        lakes.until_at_rest(settings, api, landing, since)
        today_wall = time.monotonic() - today_began
        settle(settings, api, today)
    assert backfill.returncode == 0, said
    answer = json.loads(said[said.index("{") :])
    return {
        "wall_seconds": round(wall, 1),
        "today_at_rest_seconds": round(today_wall, 1),
        "days": answer["days"],
        "compared": answer["compared"],
        "published_units": len(lakes.published(settings)),
    }


def by_command(settings: Settings, deliveries: Deliveries, days: int) -> dict[str, float]:
    """The wall time of each of the first days by ``calanque run``."""
    walls = {}
    for day in deliveries.days[:days]:
        lakes.set_clock(settings, lakes.morning_after(day))
        lakes.drop(settings, deliveries.by_day[day])
        began = time.monotonic()
        run = lakes.calanque(settings, "run")
        said, _ = run.communicate(timeout=lakes.PATIENCE)
        assert run.returncode == 0, said
        walls[str(day)] = round(time.monotonic() - began, 1)
        print(f"{day} by command: {walls[str(day)]} s", flush=True)
    return walls


def same(first: Settings, second: Settings) -> dict[str, Any]:
    """Whether two lakes hold the same rows and published the same bytes."""
    here, there = lakes.conformed(first), lakes.conformed(second)
    one, other = lakes.published(first), lakes.published(second)
    late = lakes.late_units(first)
    differing = {unit for unit in one.keys() | other.keys() if one.get(unit) != other.get(unit)}
    return {
        "conformed_rows": {name: rows for name, (rows, _) in here.items()},
        "conformed_identical": here == there,
        "units": len(one),
        "units_identical": len(one.keys() - differing),
        "units_published_before_late_rows_came": len(late),
        "other_units_that_differ": sorted(f"{mart} {day}" for mart, day in differing - late),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.operation", description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--commands", type=int, default=6, help="how many days also by `calanque run`")
    parser.add_argument("--start", type=date.fromisoformat, default=date(2026, 3, 2))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--report", type=Path, default=Path("var/operation/report.json"))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="calanque-op-"))
    folder.chmod(0o755)
    try:
        drill(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def drill(options: argparse.Namespace, folder: Path) -> None:
    report: dict[str, Any] = {
        "days": options.days,
        "scale": options.scale,
        "seed": options.seed,
        "machine_before": lakes.machine(),
    }
    deliveries = lakes.stage(
        Settings(home=folder / "none"),
        folder / "staged",
        start=options.start,
        days=options.days + 1,
        scale=options.scale,
        seed=options.seed,
    )
    with lakes.lake(folder / "a", options.start, airflow=True) as first:
        report["day_by_day"] = day_by_day(first, deliveries, options.report.with_suffix(".progress.json"))
        report["machine_after_days"] = lakes.machine()
        lakes.write(options.report, report)
        # Its Airflow goes, so that the second lake has the machine; the lake itself stays, to be compared with.
        services.down(first)
        services.up(first, airflow=False)
        with lakes.lake(folder / "b", options.start, airflow=True, keys=first.keys_dir) as second:
            report["backfill"] = by_backfill(second, deliveries)
            report["same"] = same(first, second)
            lakes.write(options.report, report)
            report["one_file_to_rows_seconds"] = lakes.spread(one_file(second, folder / "one"))
            lakes.write(options.report, report)
    with lakes.lake(folder / "c", options.start, airflow=False) as third:
        walls = by_command(third, deliveries, options.commands)
    through = [report["day_by_day"]["wall_seconds_by_day"][day] for day in walls]
    report["overhead"] = {
        "days": len(walls),
        "through_airflow_seconds": round(sum(through), 1),
        "by_command_seconds": round(sum(walls.values()), 1),
        "ratio": round(sum(through) / sum(walls.values()), 2) if walls else None,
    }
    report["machine_after"] = lakes.machine()
    lakes.write(options.report, report)
    print(json.dumps({name: report[name] for name in ("same", "overhead", "one_file_to_rows_seconds")}, indent=1))


if __name__ == "__main__":
    main()
