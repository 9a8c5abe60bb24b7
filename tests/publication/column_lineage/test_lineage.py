"""A mart that shows anything personal bare is found, whatever the way; one that counts properly is let through."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from infra.lineage.classification import Classification
from publication.column_lineage import ROWS, Leak, Lineage, check
from publication.column_lineage.following import LineageError, of

FINES = {
    "record_key": "pseudonym",
    "vehicle": "pseudonym",
    "occurred_at": "quasi_identifier",
    "zone_id": "quasi_identifier",
    "nature": "sensitive",
    "event_date": "quasi_identifier",
    "delivery_id": "provenance",
}
FLOWS = {"place_id": "public", "starts_at": "public", "people": "statistic", "event_date": "public"}
ZONES = {"zone_id": "public", "zone_name": "public"}
GRID = "(select distinct zone_id, zone_name from reference.zones) as grid"
FIRST = "select * from staging.fines qualify row_number() over (partition by vehicle order by occurred_at) = 1"
NOISY = "coalesce(counted.n, 0) + noise('1 1', '', grid.zone_id)"


def model(name: str, sql: str, meta: Mapping[str, Any] | None = None, macros: Iterable[str] = ()) -> dict[str, Any]:
    schema, _, alias = name.partition(".")
    return {
        "resource_type": "model",
        "schema": schema,
        "alias": alias,
        "language": "sql",
        "compiled_code": sql,
        "columns": {},
        "config": {"meta": dict(meta or {})},
        "depends_on": {"macros": [f"macro.calanque.{macro}" for macro in macros], "nodes": []},
    }


def manifest(*models: dict[str, Any], fines: Mapping[str, str] = FINES) -> dict[str, Any]:
    """A project of two conformed tables, one of zones, staging, and ``models``, in any order."""
    sources = {"conformed.fines": fines, "conformed.flows": FLOWS, "reference.zones": ZONES}
    staging = [
        model("staging.fines", "select * exclude (delivery_id) from conformed.fines"),
        model("staging.flows", "select * from conformed.flows"),
    ]
    nodes = {each["schema"] + "." + each["alias"]: each for each in (*models, *staging)}
    for each in nodes.values():
        each["depends_on"]["nodes"] = [name for name in nodes if name in each["compiled_code"]]
    return {
        "nodes": nodes,
        "sources": {
            name: {
                "schema": name.partition(".")[0],
                "identifier": name.partition(".")[2],
                "config": {"meta": {}},
                "columns": {
                    column: {"name": column, "config": {"meta": {"classification": each}}}
                    for column, each in classes.items()
                },
            }
            for name, classes in sources.items()
        },
    }


def measured(value: str = NOISY, counted: str | None = None, **changes: Any) -> dict[str, Any]:
    """An approved aggregation over the grid of zones."""
    counted = counted or f"select zone_id, count(*) as n from ({FIRST}) as fines group by zone_id"
    sql = (
        f"with counted as ({counted}) select grid.*, coalesce(counted.n, 0) as exact, {value} as measured from {GRID} "
    )
    arguments = {
        "sql": sql + "left join counted on grid.zone_id = counted.zone_id",
        "meta": {"approved_aggregation": "measure_counts"},
        "macros": ["measure_counts", "bound_contributions"],
    }
    return model("intermediate.measured", **{**arguments, **changes})


def mart(sql: str) -> dict[str, Any]:
    return model("marts.shown", sql, {"silo": "fines"})


def leaks(*models: dict[str, Any]) -> list[Leak]:
    return check(of(manifest(*models)))


def found(*models: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Mart column, source column and why, of every leak."""
    return {(leak.column, leak.from_column, leak.why) for leak in leaks(*models)}


def test_a_bounded_count_with_noise_over_a_public_grid_is_let_through() -> None:
    shown = "case when measured >= 11 then measured end as fines, case when measured < 11 then '<11' end as label"
    assert leaks(measured(), mart(f"select zone_id, zone_name, {shown} from intermediate.measured")) == []


def test_dimensions_come_from_the_public_grid() -> None:
    followed = of(manifest(measured(), mart("select zone_id, measured as fines from intermediate.measured")))
    assert origins(followed, ("marts.shown", "zone_id")) == {"reference.zones"}
    assert origins(followed, ("marts.shown", "fines")) == {"reference.zones", "conformed.fines"}


def origins(lineage: Lineage, place: tuple[str, str]) -> set[str]:
    """The sources that a column is made from, masked or not."""
    parents = {(edge.from_node, edge.from_column) for edge in lineage.edges if (edge.to_node, edge.to_column) == place}
    return set().union(*(origins(lineage, parent) for parent in parents)) if parents else {place[0]}


@pytest.mark.parametrize(
    ("sql", "column", "source", "direct"),
    [
        ("select vehicle from staging.fines", "vehicle", "vehicle", True),
        ("select max(occurred_at) as last_seen from staging.fines", "last_seen", "occurred_at", True),
        ("select zone_id from staging.fines", "zone_id", "zone_id", True),
        ("select listagg(hex(vehicle), ',') as vehicles from staging.fines", "vehicles", "vehicle", True),
        ("select zone_id, count(*) as n from staging.fines group by zone_id", "n", ROWS, True),
        ("select z.zone_name from staging.fines f join reference.zones z using (zone_id)", ROWS, "zone_id", False),
        ("select 1 from reference.zones where zone_id in (select zone_id from staging.fines)", ROWS, "zone_id", False),
        ("select md5(hex(vehicle)) as h, * exclude (vehicle) from staging.fines", "h", "vehicle", True),
        ("select case when vehicle = 'A'::blob then 1 else 0 end as seen from staging.fines", "seen", "vehicle", False),
        ("select zone_id, exact as n from intermediate.measured", "n", ROWS, True),
        ("select zone_id, measured - exact as drawn from intermediate.measured", "drawn", ROWS, True),
        ("select zone_id, case when exact > 10 then measured end as n from intermediate.measured", "n", ROWS, False),
        ("select zone_id from intermediate.measured order by exact desc limit 3", ROWS, ROWS, False),
        ("select people from conformed.flows", "people", "people", True),
        ("select place_id from conformed.flows", ROWS, ROWS, True),
        ("select delivery_id from conformed.fines", "delivery_id", "delivery_id", True),
    ],
)  # fmt: skip
def test_each_way_of_leaking_is_found(sql: str, column: str, source: str, direct: bool) -> None:
    seen = [leak for leak in leaks(measured(), mart(sql)) if (leak.column, leak.from_column) == (column, source)]
    assert [leak.direct for leak in seen] == [direct]
    assert seen[0].why == "bare"


def test_a_leak_is_told_in_a_sentence_that_names_mart_column_source_and_path() -> None:
    between = model(
        "intermediate.seen", "select zone_id, max(occurred_at) as last_at from staging.fines group by zone_id"
    )
    leak = next(
        leak
        for leak in leaks(between, mart("select last_at as last_seen from intermediate.seen"))
        if (leak.column, leak.from_column) == ("last_seen", "occurred_at")
    )
    assert leak.sentence() == (
        "mart shown, column last_seen: made from column occurred_at of conformed.fines (quasi_identifier), without "
        "passing an approved aggregation; the path is conformed.fines.occurred_at -> fines.occurred_at -> "
        "seen.last_at -> shown.last_seen."
    )


SHOWN = mart("select zone_id, measured as fines from intermediate.measured")


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        # Noise by hand, or by a model that does not say so, masks nothing.
        (measured(meta={}), ("fines", ROWS, "bare")),
        # Noise is no cloak for a value of somebody's.
        (
            measured(counted=f"select zone_id, max(hash(vehicle)) as n from ({FIRST}) as fines group by zone_id"),
            ("fines", "vehicle", "value"),
        ),
        (
            measured(counted=f"select zone_id, max(epoch(occurred_at)) as n from ({FIRST}) as fines group by zone_id"),
            ("fines", "occurred_at", "value"),
        ),
        # What the noise is drawn for is not masked by it.
        (
            measured(
                value="coalesce(counted.n, 0) + noise('', '', counted.who)",
                counted="select zone_id, count(*) as n, max(hex(vehicle)) as who from staging.fines group by zone_id",
            ),
            ("fines", "vehicle", "bare"),
        ),
        # One vehicle could change the count without limit.
        (measured(macros=["measure_counts"]), ("fines", ROWS, "unbounded")),
        # Rows that only exist because of data: an inner join, and counts that repeat a cell.
        (
            measured(
                sql="with counted as (select zone_id, count(*) as n from staging.fines group by zone_id) "
                f"select grid.zone_id, {NOISY} as measured from {GRID} "
                "inner join counted on grid.zone_id = counted.zone_id"
            ),
            (ROWS, "zone_id", "bare"),
        ),
        (
            measured(counted="select zone_id, count(*) as n from staging.fines group by zone_id, nature"),
            (ROWS, ROWS, "bare"),
        ),
    ],
)
def test_an_aggregation_that_does_not_protect_masks_nothing(
    aggregation: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    assert expected in found(aggregation, SHOWN)


def test_bounding_further_upstream_counts() -> None:
    bounded = model("intermediate.firsts", FIRST, macros=["bound_contributions"])
    counted = "select zone_id, count(*) as n from intermediate.firsts group by zone_id"
    assert found(bounded, measured(counted=counted, macros=["measure_counts"]), SHOWN) == set()


def test_one_way_without_bounding_is_enough_to_break_it() -> None:
    bounded = model("intermediate.firsts", FIRST, macros=["bound_contributions"])
    both = "select zone_id from intermediate.firsts union all select zone_id from staging.fines"
    counted = "select zone_id, count(*) as n from intermediate.them group by zone_id"
    models = (bounded, model("intermediate.them", both), measured(counted=counted, macros=["measure_counts"]), SHOWN)
    assert ("fines", ROWS, "unbounded") in found(*models)


def test_counts_of_people_need_noise_but_no_bounding() -> None:
    flows = mart("select place_id, measured as people from intermediate.flows")
    grid = "(select distinct zone_id as place_id from reference.zones) as grid"
    sql = (
        "with counted as (select place_id, sum(people) as n from staging.flows group by place_id) "
        f"select grid.place_id, coalesce(counted.n, 0) + noise('', '', grid.place_id) as measured from {grid} "
        "left join counted on grid.place_id = counted.place_id"
    )
    approved = {"approved_aggregation": "measure_counts"}
    assert found(model("intermediate.flows", sql, approved, ["measure_counts"]), flows) == set()
    assert ("people", "people", "bare") in found(model("intermediate.flows", sql), flows)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (model("marts.shown", "select * from read_csv('plates.csv')"), "marts.shown: it reads from .*not followed"),
        (model("marts.shown", "select a from elsewhere.table"), "marts.shown: "),
        ({**model("marts.shown", ""), "language": "python"}, "marts.shown: it has no compiled SQL"),
        (
            {**model("marts.shown", "select 1 as a"), "config": {"meta": {}, "post-hook": [{"sql": "attach 'x'"}]}},
            "marts.shown: its hooks are not followed",
        ),
        (measured(meta={"approved_aggregation": "sum"}), "'sum', which is none; approved are: measure_counts"),
        (measured(macros=[]), "'measure_counts', which it does not use"),
        ({**model("snapshots.shown", "select 1 as a"), "resource_type": "snapshot"}, "snapshot .* is not followed"),
    ],
)
def test_what_cannot_be_followed_is_refused(spoilt: dict[str, Any], said: str) -> None:
    with pytest.raises(LineageError, match=said):
        of(manifest(spoilt))


@pytest.mark.parametrize("classification", [None, "harmless"])
def test_a_source_column_without_a_class_is_refused(classification: str | None) -> None:
    with pytest.raises(LineageError, match=r"source conformed\.fines, column driver: it has no class"):
        of(manifest(fines={**FINES, "driver": classification}))  # type: ignore[dict-item]


def test_the_presence_of_a_row_tells_as_much_as_its_most_telling_column() -> None:
    followed = of(manifest())
    presence = {
        node.name: column.classification for node in followed.nodes for column in node.columns if column.name == ROWS
    }
    assert presence["conformed.fines"] is Classification.PSEUDONYM
    assert presence["conformed.flows"] is Classification.STATISTIC
    assert presence["reference.zones"] is Classification.PUBLIC


def test_lineage_is_plain_data_and_does_not_depend_on_the_order_of_the_manifest() -> None:
    models = [SHOWN, measured()]
    one, two = of(manifest(*models)), of(manifest(*reversed(models)))
    assert one == two
    assert Lineage.model_validate(json.loads(one.model_dump_json())) == one
    names = [node.name for node in one.nodes]
    assert names.index("staging.fines") < names.index("intermediate.measured") < names.index("marts.shown")
    for edge in one.edges:
        assert names.index(edge.from_node) < names.index(edge.to_node)
    masked = {(edge.from_node, edge.to_column) for edge in one.edges if edge.masked}
    assert masked == {("staging.fines", "measured")}
