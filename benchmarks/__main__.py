"""``python -m benchmarks``: see docs/benchmarks.md."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import results, suites
from benchmarks.deliveries import SENDERS
from benchmarks.measuring import FailedError
from infra.machines.services.model import ServiceError

SIZES = (1_000_000, 10_000_000)
LARGEST = {"telecom_footfall": 50_000_000}
QUICK_SIZE = 100_000
QUICK_DAYS = 14

_UNITS = {"": 1, "K": 1_000, "M": 1_000_000}


def parse_size(text: str) -> int:
    """``100k``, ``10M`` or ``12345`` rows.

    Raises:
        typer.BadParameter: none of these.
    """
    found = re.fullmatch(r"(\d+)([KM]?)", text.strip().upper())
    if found is None or int(found[1]) == 0:
        raise typer.BadParameter(f"{text!r} is no number of rows such as 100k, 1M or 50M")
    return int(found[1]) * _UNITS[found[2]]


def bench(  # noqa: PLR0917 - options, always named
    sizes: Annotated[
        str | None,
        typer.Option(help="Rows per delivery, such as 1M,10M. By default 1M and 10M, and for telecom_footfall 50M."),
    ] = None,
    silos: Annotated[str, typer.Option(help="Silos, separated by commas.")] = ",".join(SENDERS),
    repeats: Annotated[int, typer.Option(min=1, help="Measure everything so often; medians are told.")] = 1,
    quick: Annotated[
        bool, typer.Option(help="100k rows and two weeks: to see that it works, not for figures.")
    ] = False,
    marts: Annotated[bool, typer.Option(help="Measure the marts of each silo as well.")] = True,
    day: Annotated[bool, typer.Option(help="Measure a day in a year as well.")] = True,
    keep: Annotated[bool, typer.Option(help="Leave the lakes where they are, stopped.")] = False,
    work: Annotated[Path | None, typer.Option(help="Folder for the lakes; a temporary one by default.")] = None,
    output: Annotated[Path, typer.Option(help="Folder for the figures as JSON.")] = Path("bench-results"),
) -> None:
    """Measure ingestion and marts beside floors taken in the same run, and a day in a year beside one in an empty lake.

    Every measurement has a fresh lake of its own, without Airflow; no lake of yours is touched.
    """
    wanted = _wanted(sizes, silos, quick=quick)
    began = time.monotonic()

    def tell(sentence: str) -> None:
        print(f"[{time.monotonic() - began:6.0f} s] {sentence}", file=sys.stderr, flush=True)

    found: dict[str, Any] = {"machine": results.machine(), "sizes": [], "day": None}
    output.mkdir(parents=True, exist_ok=True)
    target = output / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"

    def save() -> None:
        """Figures stay when a later measurement fails or is given up."""
        found["seconds"] = time.monotonic() - began
        target.write_text(json.dumps(found, indent=2) + "\n")

    with suites.workshop(work, keep=keep) as workshop:
        _require_disk(workshop, wanted)
        if keep:
            tell(f"the lakes stay in {workshop}")
        for silo, rows in wanted:
            runs = suites.measure_size(workshop, silo, rows, repeats, tell, marts=marts, keep=keep)
            found["sizes"].append(results.of_size(silo, rows, runs))
            save()
        if day:
            days = QUICK_DAYS if quick else suites.YEAR_DAYS
            found["day"] = results.of_day(days, suites.measure_day(workshop, days, repeats, tell, keep=keep))
            save()
    results.show(found["sizes"], found["day"])
    tell(f"the figures are in {target}")


def _wanted(sizes: str | None, silos: str, *, quick: bool) -> list[tuple[str, int]]:
    names = [name.strip() for name in silos.split(",") if name.strip()]
    for name in names:
        if name not in SENDERS:
            raise typer.BadParameter(
                f"there is no silo {name!r}; there are: {', '.join(SENDERS)}", param_hint="--silos"
            )
    if sizes is not None:
        rows = [parse_size(size) for size in sizes.split(",")]
    else:
        rows = [QUICK_SIZE] if quick else list(SIZES)
    largest = {} if quick or sizes is not None else LARGEST
    return [(name, size) for name in names for size in (*rows, *([largest[name]] if name in largest else []))]


def _require_disk(workshop: Path, wanted: list[tuple[str, int]]) -> None:
    needed = {(silo, rows): suites.needed_bytes(workshop, silo, rows) for silo, rows in wanted}
    free = shutil.disk_usage(workshop).free
    for (silo, rows), size in needed.items():
        if size > free:
            typer.secho(
                f"{silo} with {rows:,} rows needs {size / 2**30:.0f} GiB of disk, and {workshop.parent} has "
                f"{free / 2**30:.0f} GiB free: name another folder with --work, or smaller --sizes",
                fg=typer.colors.RED,
                err=True,
            )
            raise typer.Exit(1)


def main() -> None:
    """Run the command; what can go wrong is told in a sentence, and whoever ends it, its lakes go."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        typer.run(bench)
    except (FailedError, ServiceError) as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
