"""Reading a query says what its columns and rows are made from: never less than what DuckDB's answer depends on."""

from __future__ import annotations

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from infra.lineage.graph import ROWS
from publication.column_lineage.query import Known, Read, Relation, UnreadableQueryError, read

TABLES = {"s.t": Known(("a", "b", "c")), "s.g": Known(("a", "x"))}


def spelled(reads: frozenset[Read]) -> set[str]:
    """``t.a`` for a value, ``~t.a`` for what only decides, ``#`` before what noise masks."""
    return {
        ("" if each.direct else "~") + ("#" if each.masked else "") + f"{each.relation.partition('.')[2]}.{each.column}"
        for each in reads
    }


def rows(relation: Relation) -> set[str]:
    return {f"{each.relation.partition('.')[2]}.{each.column}" for each in relation.rows}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("a", {"t.a"}),
        ("upper(a) || coalesce(b, c)", {"t.a", "t.b", "t.c"}),
        ("case when a > 1 then b else c end", {"~t.a", "t.b", "t.c"}),
        ("(select max(x) from s.g where g.a = t.a)", {"g.x", "~g.a", "~g.*", "~t.a"}),
        ("exists (select 1 from s.g where g.a = t.a)", {"~g.a", "~g.*", "~t.a"}),
        ("sum(a) over (partition by b order by c)", {"t.a", "~t.b", "~t.c", "~t.*"}),
        ("row_number() over (order by b)", {"~t.b", "~t.*"}),
        ("list_transform([a], v -> v + b)", {"t.a", "t.b"}),
        ("{'k': a}", {"t.a"}),
        ("b + noise('plan', 'domain', c)", {"#t.b", "~t.c"}),
        ("noise('plan', 'domain', c) + coalesce(b, 0)", {"#t.b", "~t.c"}),
        ("b - cast(a as int) * noise('plan', 'domain', 'cell')", {"t.b", "t.a"}),  # not what noise is for
        ("noise(b) + noise('plan')", {"t.b"}),
        ("b + noise('plan', 'domain', [c])[1]", {"t.b", "t.c"}),  # no whole array
        ("noise_of(b) + a", {"t.b", "t.a"}),
        ("1", set()),
    ],
)
def test_an_expression_reads_its_columns(expression: str, expected: set[str]) -> None:
    assert spelled(read(f"select {expression} as it from s.t", TABLES).columns["it"]) == expected


GRID = "select a, unnest(x) as cell, unnest(noise('plan', a, x)) as n from s.g"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            f"with grid as ({GRID}) select t.b + grid.n as it from s.t inner join grid on t.a = grid.a",
            {"#t.b", "~g.a", "~g.x"},
        ),
        (f"with grid as ({GRID}), more as (select a, n as z from grid) select z + 1 as it from more", {"~g.a", "~g.x"}),
        # Whoever takes it off again, or makes something else of it, has masked nothing.
        (f"with grid as ({GRID}) select t.b + grid.n - grid.n as it from s.t, grid", {"t.b", "g.a", "g.x"}),
        (
            f"with grid as ({GRID}), m as (select t.b + grid.n as b, grid.n from s.t, grid) select b - n as it from m",
            {"t.b", "~g.a", "~g.x"},
        ),
        (f"with grid as ({GRID}) select t.b + grid.n * 0 as it from s.t, grid", {"t.b", "g.a", "g.x"}),
        (f"with grid as ({GRID}) select t.b + max(grid.n) as it from s.t, grid group by t.b", {"t.b", "g.a", "g.x"}),
        (f"with grid as ({GRID}) select t.b + grid.cell as it from s.t, grid", {"t.b", "g.x"}),
    ],
)
def test_noise_may_come_by_a_column_of_the_grid(query: str, expected: set[str]) -> None:
    found = spelled(read(query, TABLES).columns["it"])
    assert {each for each in found if "*" not in each} == expected


@pytest.mark.parametrize(
    "query",
    [
        "select a, noise('plan', a, [x]) as n from s.g",
        GRID,
        f"with grid as ({GRID}) select t.b + grid.n as it, grid.n from s.t, grid",
        f"{GRID} union all select a, x as cell, x as n from s.g",
    ],
)
def test_noise_alone_never_leaves_a_query(query: str) -> None:
    with pytest.raises(UnreadableQueryError, match="noise"):
        read(query, TABLES)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("count(*)", {"t.*", "~t.b"}),
        ("count(distinct a)", {"t.*", "~t.a", "~t.b"}),
        ("count(*) filter (where c = 1)", {"t.*", "~t.b", "~t.c"}),
        ("max(a)", {"t.a", "~t.*", "~t.b"}),
        ("listagg(a, ',')", {"t.a", "~t.*", "~t.b"}),
        ("max_by(a, c)", {"t.a", "t.c", "~t.*", "~t.b"}),
    ],
)
def test_an_aggregate_also_depends_on_which_rows_there_are(expression: str, expected: set[str]) -> None:
    found = read(f"select {expression} as it from s.t where b > 0", TABLES)
    assert spelled(found.columns["it"]) == expected
    assert rows(found) == set(), "one row, whatever there is"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select a from s.t", {"t.*"}),
        ("select a from s.t where b > 0", {"t.*", "t.b"}),
        ("select distinct a from s.t", {"t.*", "t.a"}),
        ("select a from s.t group by a having max(b) > 1", {"t.*", "t.a", "t.b"}),
        ("select a, sum(b) as b from s.t group by all", {"t.*", "t.a"}),
        ("select a from s.t group by grouping sets ((a), (a, c))", {"t.*", "t.a", "t.c"}),
        ("select a from s.t qualify row_number() over (partition by b order by c) = 1", {"t.*", "t.b", "t.c"}),
        ("select a from s.t order by b limit 2", {"t.*", "t.b"}),
        ("select a as z from s.t order by z limit 2", {"t.*", "t.a"}),
        ("select a from s.t union all select x from s.g", {"t.*", "g.*"}),
        ("select a from s.t union select x from s.g", {"t.*", "g.*", "t.a", "g.x"}),
        ("select a from s.t except select x from s.g", {"t.*", "g.*", "t.a", "g.x"}),
        ("select t.a from s.t inner join s.g using (a)", {"t.*", "t.a", "g.*", "g.a"}),
        ("select t.a from s.t, s.g", {"t.*", "g.*"}),
        ("select t.a from s.t left join s.g on t.a = g.a", {"t.*", "t.a", "g.*", "g.a"}),
        ("select t.a from s.t semi join s.g on t.a = g.a", {"t.*", "t.a", "g.*", "g.a"}),
        ("select a from s.t where a in (select x from s.g)", {"t.*", "t.a", "g.*", "g.x"}),
        ("select p from (values (1), (2)) as v(p)", set()),
        ("select u.v from s.t, unnest([b]) as u(v)", {"t.*", "t.b"}),
        ("select unnest([a, b]) as v from s.t", {"t.*", "t.a", "t.b"}),
    ],
)
def test_rows_depend_on_what_joins_filters_and_groups(query: str, expected: set[str]) -> None:
    assert rows(read(query, TABLES)) == expected


COUNTED = "select a, count(*) as n from s.t group by a"


@pytest.mark.parametrize(
    ("query", "depend_on_counts"),
    [
        (f"select g.x, c.n from s.g left join ({COUNTED}) as c on g.a = c.a", False),
        (f"with c as ({COUNTED}) select g.x, c.n from s.g left join c on c.a = g.x and c.n > 3", False),
        (f"with c as ({COUNTED}), d as (select n, a as k from c) select d.n from s.g left join d on g.a = d.k", False),
        ("select g.x from s.g left join (select distinct a from s.t) as c on g.a = c.a", False),
        (f"select g.x, c.n from s.g left join ({COUNTED}) as c on g.a = c.n", True),
        (f"select g.x, c.n from s.g left join ({COUNTED}) as c on g.a >= c.a", True),
        (f"select g.x, c.n from s.g left join ({COUNTED}) as c on c.a = c.a", True),
        (f"select g.x, c.n from s.g inner join ({COUNTED}) as c on g.a = c.a", True),
        (f"select g.x, c.n from s.g left join ({COUNTED}, c) as c on g.a = c.a", True),
        ("select g.x, t.b from s.g left join s.t on g.a = t.a", True),
    ],
)
def test_a_grid_keeps_its_rows_when_each_can_meet_one_count_at_most(query: str, depend_on_counts: bool) -> None:
    """The heart of publishing counts: left join of a grid with counts grouped by the same keys."""
    found = read(query, TABLES)
    assert ("t.*" in rows(found)) == depend_on_counts
    for name, reads in found.columns.items():
        if name == "n":
            assert {"t.*", "~t.a"} <= spelled(reads) | {"~t.a"}


def test_what_was_joined_by_a_secret_key_tells_the_key() -> None:
    found = read(
        "select g.x from s.t left join (select distinct a, x from s.g) as g on t.b = g.a and t.b = g.x", TABLES
    )
    assert "~t.b" in spelled(found.columns["x"])


@pytest.mark.parametrize(
    "query",
    [
        "select nope from s.t",
        "select a from s.unknown",
        "select a from t",
        "select * from read_parquet('somewhere')",
        "select a from query('select 1 as a')",
        "select columns('a|b') from s.t",
        "select t from s.t",
        "select count(*) from s.t; select 1",
        "insert into s.t select 1, 2, 3",
        "with recursive r as (select 1 as n union all select n + 1 from r) select n from r",
        "select sum(a) over w as it from s.t window w as (partition by b)",
        "pivot s.t on a using sum(b)",
        "select a from s.t tablesample 10%",
        "select a from s.t union by name select a from s.g",
        "select a, b as a from s.t",
        "select a from",
        "summarize s.t",
    ],
)
def test_what_is_not_understood_is_refused(query: str) -> None:
    with pytest.raises(UnreadableQueryError):
        read(query, TABLES)


# --- what reading says is compared with what changes in DuckDB -------------------------------------------------------

_COLUMNS = {"t": ("a", "b", "c"), "g": ("a", "x")}


def _values(*columns: str) -> st.SearchStrategy[str]:
    simple = st.sampled_from(columns)
    return st.one_of(
        simple,
        st.builds("({} + 2 * {})".format, simple, simple),
        st.builds("coalesce({}, {})".format, simple, simple),
        st.builds("case when {} > 1 then {} else 7 end".format, simple, simple),
    )


@st.composite
def _tables(draw: st.DrawFn) -> tuple[str, tuple[str, ...]]:
    """The from clause of a query, and the columns it offers."""
    t, g = tuple(f"t.{name}" for name in _COLUMNS["t"]), tuple(f"g.{name}" for name in _COLUMNS["g"])
    left, right = draw(st.sampled_from(t)), draw(st.sampled_from(g))
    grouped = "(select a, max(x) as x from s.g group by a)"
    return draw(
        st.sampled_from(
            [
                ("s.t", t),
                (f"s.t inner join s.g on {left} = {right}", (*t, *g)),
                (f"s.t left join s.g on {left} = {right}", (*t, *g)),
                (f"s.t left join {grouped} as g on {left} = g.a", (*t, *g)),
                (f"s.g right join s.t on {left} = {right}", (*t, *g)),
                (f"s.t full join s.g on {left} = {right}", (*t, *g)),
                (f"s.t semi join s.g on {left} = {right}", t),
                ("s.t cross join (select count(*) as x, 1 as a from s.g) as g", (*t, *g)),
            ]
        )
    )


@st.composite
def _queries(draw: st.DrawFn) -> str:
    tables, columns = draw(_tables())
    value = _values(*columns)
    where = draw(st.sampled_from(["", f" where {draw(value)} > 1", f" where {draw(value)} in (select x from s.g)"]))
    one, two, key = draw(value), draw(value), draw(value)
    aggregate = draw(st.sampled_from(["count(*)", "sum({})", "max({})", "count(distinct {})"])).format(two)
    plain = f"select {one} as p, {two} as q from {tables}{where}"
    laid = "select a.x as p, n.m as q from s.g as a left join n on a.a = n.p"
    return draw(
        st.sampled_from(
            [
                plain,
                plain.replace("select", "select distinct", 1),
                f"select {key} as p, {aggregate} as q from {tables}{where} group by {key}",
                f"select max({one}) as p, count(*) as q from {tables}{where}",
                f"select {one} as p, sum({two}) over (partition by {key}) as q from {tables}{where}",
                f"select {one} as p, {two} as q from {tables}{where} qualify rank() over (order by {key}) <= 2",
                f"{plain} union select x, a from s.g",
                f"with w as ({plain}), n as (select p, count(*) as m from w group by p) {laid}",
            ]
        )
    )


_NUMBERS = st.lists(st.integers(0, 3), min_size=3, max_size=3)


@pytest.mark.slow
@settings(max_examples=150)
@given(
    query=_queries(),
    t=st.tuples(_NUMBERS, _NUMBERS, _NUMBERS),
    g=st.tuples(_NUMBERS, _NUMBERS),
    changed=st.sampled_from([("t", "a"), ("t", "b"), ("t", "c"), ("g", "a"), ("g", "x")]),
    new=_NUMBERS,
)
def test_an_answer_depends_on_nothing_that_reading_does_not_say(
    query: str,
    t: tuple[list[int], ...],
    g: tuple[list[int], ...],
    changed: tuple[str, str],
    new: list[int],
) -> None:
    """Change one column of one table: what is not said to be made from it stays as it was."""
    found = read(query, TABLES)
    table, column = changed
    if any((each.relation, each.column) == (f"s.{table}", column) for each in found.rows):
        return
    untouched = [
        name
        for name, reads in found.columns.items()
        if all((each.relation, each.column) != (f"s.{table}", column) for each in reads)
    ]
    before = {"t": dict(zip("abc", t, strict=True)), "g": dict(zip("ax", g, strict=True))}
    after = {**before, table: {**before[table], column: new}}
    answers = [_answer(query, contents).select(untouched) for contents in (before, after)]
    if not untouched:
        assert len(_answer(query, before)) == len(_answer(query, after))
        return
    assert_frame_equal(*(answer.sort(untouched) for answer in answers))


@settings(max_examples=60)
@given(query=_queries(), t=st.tuples(_NUMBERS, _NUMBERS, _NUMBERS), g=st.tuples(_NUMBERS, _NUMBERS))
def test_rows_depend_on_no_other_rows_than_reading_says(
    query: str, t: tuple[list[int], ...], g: tuple[list[int], ...]
) -> None:
    """Take a row away: a query that does not say it depends on the table's rows has as many as before."""
    found = read(query, TABLES)
    before = {"t": dict(zip("abc", t, strict=True)), "g": dict(zip("ax", g, strict=True))}
    for table in ("t", "g"):
        if not any(each.relation == f"s.{table}" for each in found.rows):
            after = {**before, table: {name: values[1:] for name, values in before[table].items()}}
            assert len(_answer(query, before)) == len(_answer(query, after))
        if not any(
            (each.relation, each.column) == (f"s.{table}", ROWS) for each in found.rows.union(*found.columns.values())
        ):
            after = {**before, table: {name: values[1:] for name, values in before[table].items()}}
            answers = (_answer(query, contents) for contents in (before, after))
            assert_frame_equal(*(answer.sort(answer.columns) for answer in answers))


def _answer(query: str, contents: dict[str, dict[str, list[int]]]) -> pl.DataFrame:
    with duckdb.connect() as connection:
        connection.execute("create schema s")
        for name, columns in contents.items():
            frame = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.Int64)).to_arrow()
            connection.register("rows", frame)
            connection.execute(f"create table s.{name} as from rows")
        return connection.execute(query).pl()
