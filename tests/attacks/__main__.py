"""``make attack``: make cities, attack them, write the report; exits 1 when anything is over its limit."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from infra.machines.services import lake
from infra.settings import Settings
from tests.attacks import cities, suite
from tests.attacks.findings import Finding, Report, number

EVERY_CITY = "Every city"


def main(arguments: list[str] | None = None) -> int:
    """Run the whole suite; the number of cities and the folder of the report can be chosen."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=main.__doc__)
    parser.add_argument("--report", type=Path, default=Path("var/attacks"), help="folder of the report")
    parser.add_argument("--cities", type=int, default=len(cities.CITIES), help="how many cities to attack")
    parser.add_argument("--pairs", type=int, default=suite.PAIRS, help="neighbouring pairs of P8 and P9")
    chosen = parser.parse_args(arguments)

    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.0f} s  {text}", flush=True)

    # A short path, and one that PostgreSQL's account may enter when this runs as root.
    scratch = Path(tempfile.mkdtemp(prefix="calanque-attack-"))
    scratch.chmod(0o755)
    found: dict[str, list[Finding]] = {}
    try:
        for place, city in enumerate(cities.CITIES[: chosen.cities]):
            found[city.name] = _one_city(city, scratch / str(place), say, suite.FEWER_RERUNS if place else suite.RERUNS)
        found[EVERY_CITY] = [
            *suite.on_mechanism(scratch / "mechanism", say, pairs=chosen.pairs),
            *suite.on_deliveries(scratch / "neighbours", say),
            *_ledger(scratch / "ledger", say),
        ]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report = Report(found, _about(time.monotonic() - started))
    chosen.report.mkdir(parents=True, exist_ok=True)
    (chosen.report / "attack-report.json").write_text(report.json(), encoding="utf-8")
    (chosen.report / "attack-report.html").write_text(report.page(), encoding="utf-8")
    _print(report)
    print(f"\nwritten to {chosen.report}: attack-report.json, attack-report.html")
    return 0 if report.holds else 1


def _one_city(city: cities.Plan, folder: Path, say: suite.Say, count: int) -> list[Finding]:
    settings = Settings(home=folder / "home", quiet=True)
    try:
        settings = cities.make(city, folder / "home", lambda text: say(f"{city.name}: {text}"))
        return suite.on_city(city, settings, folder / "work", lambda text: say(f"{city.name}: {text}"), count=count)
    finally:
        lake.down(settings)
        shutil.rmtree(folder, ignore_errors=True)


def _ledger(folder: Path, say: suite.Say) -> list[Finding]:
    folder.mkdir(mode=0o755)
    settings = Settings(home=folder, quiet=True, drill=True)
    try:
        lake.up(settings, airflow=False)
        return suite.on_ledger(settings, folder, say)
    finally:
        lake.down(settings)


def _about(seconds: float) -> dict[str, object]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return {"made": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", "code": commit.strip(), "seconds": round(seconds)}


def _print(report: Report) -> None:
    for city, findings in report.cities.items():
        print(f"\n{city}")
        for each in findings:
            interval = f" [{number(each.interval.low)}, {number(each.interval.high)}]" if each.interval else ""
            print(
                f"  {each.attack:4} {each.verdict:14} {number(each.measured)}{interval} {each.sense} "
                f"{number(each.limit)}  {each.measures}; {each.control.broken}: {number(each.control.measured)}"
            )


if __name__ == "__main__":
    sys.exit(main())
