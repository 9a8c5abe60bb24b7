"""The benchmark measures a real lake and tells figures of the right shape; how fast is nobody's test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import typer

from benchmarks.__main__ import parse_size


@pytest.mark.parametrize(("text", "rows"), [("100k", 100_000), ("1M", 1_000_000), (" 50m ", 50_000_000), ("7", 7)])
def test_sizes_are_read(text: str, rows: int) -> None:
    assert parse_size(text) == rows


@pytest.mark.parametrize("text", ["", "0", "M", "1G", "-1M", "1.5M"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="no number of rows"):
        parse_size(text)


def bench(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_unknown_silos_are_told() -> None:
    refused = bench("--silos", "weather")
    assert refused.returncode == 2
    assert "there is no silo 'weather'" in refused.stderr.replace("│", "").replace("\n", " ")


def test_what_does_not_fit_on_the_disk_is_not_begun(tmp_path: Path) -> None:
    refused = bench("--sizes", "900000000M", "--silos", "tows", "--no-day", "--work", str(tmp_path))
    assert refused.returncode == 1
    assert "GiB free" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def folder() -> Iterator[Path]:
    """Open to the account that PostgreSQL runs as, and with a short path for its socket."""
    made = Path(mkdtemp(prefix="cb-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.live
@pytest.mark.long
def test_a_quick_run_measures_everything_and_leaves_only_figures(folder: Path) -> None:
    ran = bench("--quick", "--silos", "tows", "--work", str(folder), "--output", str(folder / "figures"))
    assert ran.returncode == 0, ran.stderr

    assert [path.name for path in folder.iterdir()] == ["figures"]
    [path] = (folder / "figures").iterdir()
    found: dict[str, Any] = json.loads(path.read_text())
    assert found["machine"]["cores"] > 0
    assert found["machine"]["packages"]["duckdb"]

    [size] = found["sizes"]
    assert (size["silo"], size["rows"], size["accepted"]) == ("tows", 100_000, 100_000)
    assert size["ingest"]["rows_per_second"] > 0
    assert set(size["ingest"]["floors"]) == {"copy", "parquet"}
    for floor in size["ingest"]["floors"].values():
        assert floor["ratio"] > floor["ratio_once_landed"] > 0
        assert 2**24 < floor["peak_bytes"] < 2**36
    assert size["marts"]["sql_seconds"] > 0
    quarterly = {"tows_by_area", "tows_by_reason", "tows_delay", "tows_profile"}
    assert set(size["marts"]["rows"]) == {"tows_by_month", "tows_by_month_and_reason", *quarterly}
    assert all(rows > 0 for rows in size["marts"]["rows"].values())
    for peak in (size["ingest"]["peak_bytes"], size["marts"]["peak_bytes"]):
        assert 2**24 < peak < 2**36

    day = found["day"]
    assert day["rows"] > 1_000
    assert set(day["stages"]) == {"land", "ingest", "build", "release"}
    assert day["ratio"] > 0
    assert day["nothing_new_seconds"] > 0
    for told in ("Ingest", "Marts", "tows", "ratio"):
        assert told in ran.stdout
