"""Words that a column may hold: those of its dbt seed, which the marts use."""

from __future__ import annotations

import csv
from pathlib import Path

SEEDS = Path(__file__).parents[2] / "dbt_project" / "seeds"


def vocabulary(seed: str) -> tuple[str, ...]:
    """The first column of a seed, in its order."""
    with (SEEDS / f"{seed}.csv").open(encoding="utf-8", newline="") as file:
        return tuple(row[0] for row in csv.reader(file))[1:]
