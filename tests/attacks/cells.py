"""P2: how often does a displayed cell stand for one or two people?"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from tests.attacks.findings import Control, Finding
from tests.attacks.measures import clopper_pearson
from tests.attacks.published import Table
from tests.attacks.truth import Truth

FEW = 2


def few_behind(table: Table, exact: pl.DataFrame) -> tuple[int, int]:
    """Displayed cells, and those of them whose true number of distinct units is 1 or 2."""
    shown = exact.filter(pl.col(table.measure).is_not_null())
    return shown.height, shown.filter(pl.col("exact").is_between(1, FEW)).height


def attack(tables: Mapping[str, Table], truth: Truth) -> list[Finding]:
    """One finding per mart of fines or tows: each counted event is another vehicle, so counts are distinct units."""
    findings = []
    for mart, table in tables.items():
        if not mart.startswith(("fines", "tows")):
            continue
        exact = truth.exact(mart, table)
        cells, few = few_behind(table, exact)
        findings.append((mart, cells, few, exact))
    cells, few = sum(each[1] for each in findings), sum(each[2] for each in findings)
    worst = max(findings, key=lambda each: each[2] / max(each[1], 1))
    raw = truth.counted("verbalisations").group_by("zone_id", "day").len()["len"]
    return [
        Finding(
            "P2",
            "share of displayed cells that stand for one or two vehicles, worst mart",
            limit=0.01,
            measured=worst[2] / max(worst[1], 1),
            interval=clopper_pearson(worst[2], worst[1]),
            control=Control("raw counts by zone and day", float((raw <= FEW).mean() or 0), 0.011),
            details={"mart": worst[0], "all displayed": cells, "all with one or two": few},
        )
    ]
