"""P6: a period is published, one in a hundred rows comes late, a correction is published: where were the late ones?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from infra.build_spec import CityReference
from infra.calendar.days import DayRange
from tests.attacks import local
from tests.attacks.findings import Control, Finding
from tests.attacks.measures import stratified_auc
from tests.attacks.published import Table
from tests.attacks.truth import Truth

LATE = 0.01
STRATA = 10
"""Cells are compared with cells of the same mart and about the same size: that greater ones have more late rows is
known to everybody."""


def compared(
    before: Mapping[str, Table], after: Mapping[str, Table], changed: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Every cell that both editions show: ``score``, its change; ``changed``, whether it did; ``stratum``."""
    found = []
    for number, (mart, table) in enumerate(sorted(before.items())):
        measure = table.measure
        both = (
            table.frame.join(after[mart].frame.select(*table.key, new=measure), on=table.key)
            .join(changed[mart], on=table.key)
            .filter(pl.col(measure).is_not_null(), pl.col("new").is_not_null())
        )
        rank = (pl.col(measure) + pl.col("new")).rank("ordinal")
        found.append(
            both.select(
                score=(pl.col("new") - pl.col(measure)).cast(pl.Float64),
                changed="changed",
                stratum=number * STRATA + ((rank - 1) * STRATA // pl.len()).cast(pl.Int64),
            )
        )
    return pl.concat(found)


def attack(
    rows: Mapping[str, pl.DataFrame],
    city: CityReference,
    coverage: DayRange,
    zones: pl.DataFrame,
    marts: Sequence[str],
    *,
    folder: Path,
) -> Finding:
    """Edition 1 without the late rows, edition 2 with them; broken: the noise of a cell is the same in both.

    Fitting tables to totals happens to blur even that, so the broken build does not fit them.
    """
    late = {name: np.random.default_rng(5).random(frame.height) < LATE for name, frame in rows.items()}
    early = {name: frame.filter(~late[name]) for name, frame in rows.items()}
    lakes = [local.make(folder / name, each, city, coverage) for name, each in (("early", early), ("all", dict(rows)))]
    projects = {
        "real": local.PROJECT,
        "broken": local.broken(folder / "cell_only", local.NO_EDITION, local.NOT_FITTED),
    }
    areas, cells = {}, pl.DataFrame()
    for name, project in projects.items():
        before, after = (
            local.tables(local.build(lake, marts, project=project, edition=edition, keys=folder / "keys"))
            for edition, lake in enumerate(lakes, start=1)
        )
        changed = {
            mart: Truth(early, zones)
            .exact(mart, before[mart])
            .join(Truth(rows, zones).exact(mart, table).select(*table.key, now="exact"), on=table.key)
            .select(*table.key, changed=pl.col("exact") != pl.col("now"))
            for mart, table in after.items()
        }
        cells = compared(before, after, changed)
        score, label, stratum = (cells[column].to_numpy() for column in ("score", "changed", "stratum"))
        # Growth, and change either way: a late row that is its vehicle's first takes a later one out of another cell.
        areas[name] = max(stratified_auc(each, label, stratum) for each in (score, np.abs(score)))
    late_cells = int(cells["changed"].sum())
    return Finding(
        "P6",
        f"cells with late rows ({LATE:.0%} of rows) told from others by subtracting two editions: AUC",
        limit=0.60,
        measured=areas["real"].value,
        interval=areas["real"].interval,
        control=Control("noise keyed by the cell alone, tables not fitted", areas["broken"].value, 0.75),
        details={"cells with late rows": late_cells, "other cells": cells.height - late_cells},
    )
