"""What each column of one query is made from: a reading of its SQL, without any database.

Two things are followed. A column *reads* the columns that its expression names, directly (its value is made of theirs)
or indirectly (they decide which value it is: conditions of a case, keys of a join, partitions of a window). And the
*rows* of a query, which of them there are, depend on what it joins, filters, groups and limits by; they are followed
like one more column, ``ROWS``.

What is not understood is refused, never ignored: a column that is not followed could be anything.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from infra.lineage.graph import ROWS

DIALECT = "duckdb"

NOISE = "noise"
"""The SQL function that noise comes from, arrays of it (publication/builds/dbt_plugin.py registers it). Only adding
noise to a
value masks that: what the function gives, an element of it, or a column that holds one."""


class UnreadableQueryError(ValueError):
    """A query whose columns cannot be followed; the message says which part of it."""


@dataclass(frozen=True, order=True)
class Read:
    """A column of a relation outside the query that something in it is made from.

    ``direct``: its value is in there; else it only decides. ``masked``: only with noise added to it.
    """

    relation: str
    column: str
    direct: bool = True
    masked: bool = False


_SELECT = frozenset(
    {"with_", "expressions", "from_", "joins", "where", "group"}
    | {"having", "qualify", "distinct", "order", "limit", "offset", "sample"}
)
"""The parts of a select that are followed."""

Reads = frozenset[Read]
NOTHING: Reads = frozenset()


@dataclass(frozen=True)
class Relation:
    """What is known of a table or of the result of a query.

    ``keys``: sets of columns of which no two rows have the same values. ``noise``: columns that are noise alone.
    """

    columns: Mapping[str, Reads]
    rows: Reads = NOTHING
    keys: tuple[frozenset[str], ...] = ()
    noise: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Known:
    """A relation that queries may read: its columns, in order, and its keys."""

    columns: tuple[str, ...]
    keys: tuple[frozenset[str], ...] = ()


def read(sql: str, relations: Mapping[str, Known]) -> Relation:
    """The columns of the query ``sql``, by name, and what they are made from.

    Args:
        sql: one select statement of DuckDB's dialect.
        relations: everything it may read, by ``schema.name`` in lower case.

    Raises:
        UnreadableQueryError: the query cannot be parsed, names something unknown, or has a part that is not followed.
    """
    tables: dict[str, dict[str, dict[str, str]]] = {}
    for name, known in relations.items():
        schema, _, table = name.partition(".")
        tables.setdefault(schema, {})[table] = dict.fromkeys(known.columns, "unknown")
    try:
        parsed = sqlglot.parse_one(sql, dialect=DIALECT)
        for named in parsed.find_all(exp.Table):
            named.set("catalog", None)  # one database per build, whose name is not ours to know
        query = qualify(
            parsed,
            schema=MappingSchema(dict(tables), dialect=DIALECT),
            dialect=DIALECT,
            quote_identifiers=False,
            identify=False,
        )
    except (SqlglotError, RecursionError) as error:
        raise UnreadableQueryError(f"it cannot be parsed: {str(error).splitlines()[0]}") from error
    found = _Reader(relations).query(query, _Scope())
    if found.noise:
        raise UnreadableQueryError(
            f"column {min(found.noise)} is noise and nothing else: whoever reads it could take the noise off again"
        )
    return replace(found, columns={name: _merged(reads) for name, reads in found.columns.items()})


def indirect(reads: Iterable[Read]) -> Reads:
    return frozenset(replace(read, direct=False) for read in reads)


def _merged(reads: Reads) -> Reads:
    """One entry for each column that is read: masked when it always is, direct when it is so unmasked."""
    found: dict[tuple[str, str], list[Read]] = {}
    for each in reads:
        found.setdefault((each.relation, each.column), []).append(each)
    merged: set[Read] = set()
    for (relation, column), ways in found.items():
        plain = [way for way in ways if not way.masked]
        direct = any(way.direct for way in plain or ways)
        merged.add(Read(relation, column, direct=direct, masked=not plain))
    return frozenset(merged)


@dataclass(frozen=True)
class _Scope:
    """What names mean at one place of a query: common table expressions, and the tables of the select by alias."""

    ctes: Mapping[str, Relation] = field(default_factory=dict)
    tables: Mapping[str, Relation] = field(default_factory=dict)
    aliases: Mapping[str, Reads] = field(default_factory=dict)  # of the select's own columns
    rows: Reads = NOTHING  # what decides on the rows that an aggregate sees


class _Reader:
    """Reads queries that may use ``relations``."""

    def __init__(self, relations: Mapping[str, Known]) -> None:
        self._relations = relations
        self._special: Mapping[type[exp.Expr], Callable[[exp.Expr, _Scope], Reads]] = {
            exp.Column: self._column,
            exp.Exists: self._subquery,
            exp.Query: self._subquery,
            exp.Window: self._window,
            exp.If: self._condition,
            exp.Filter: self._filtered,
            exp.Add: self._sum,
            exp.Sub: self._sum,
            exp.AggFunc: self._aggregate,
            exp.Lambda: self._lambda,
            exp.Star: self._refused,
            exp.Columns: self._refused,
            exp.TableColumn: self._refused,
            exp.Placeholder: self._refused,
            exp.Parameter: self._refused,
        }

    # --- queries -----------------------------------------------------------------------------------------------------

    def query(self, node: exp.Expr, scope: _Scope) -> Relation:
        if isinstance(node, exp.Subquery):
            _understood(node, {"with_", "this", "alias"})
            inner = self.query(node.this, self._with_ctes(node, scope))
            return _renamed(inner, node.args.get("alias"))
        scope = self._with_ctes(node, scope)
        if isinstance(node, exp.Select):
            _understood(node, _SELECT)
            return self._select(node, scope)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, scope)
        raise UnreadableQueryError(f"a {node.key} is not followed")

    def _with_ctes(self, node: exp.Expr, scope: _Scope) -> _Scope:
        clause = node.args.get("with_")
        if clause is None:
            return scope
        if clause.args.get("recursive"):
            raise UnreadableQueryError("a recursive query is not followed")
        for cte in clause.expressions:
            relation = _renamed(self.query(cte.this, scope), cte.args.get("alias"))
            scope = replace(scope, ctes={**scope.ctes, cte.alias: relation})
        return scope

    def _set_operation(self, node: exp.SetOperation, scope: _Scope) -> Relation:
        left, right = self.query(node.left, scope), self.query(node.right, scope)
        if node.args.get("by_name") or len(left.columns) != len(right.columns):
            raise UnreadableQueryError("a set operation whose sides differ in columns, or by name, is not followed")
        if left.noise or right.noise:
            raise UnreadableQueryError("noise in a set operation is not followed")
        columns = {
            name: mine | theirs
            for (name, mine), theirs in zip(left.columns.items(), right.columns.values(), strict=True)
        }
        rows = left.rows | right.rows
        if node.args.get("distinct") or not isinstance(node, exp.Union):
            rows = rows.union(*(indirect(reads) for reads in columns.values()))
        return Relation(columns, rows | self._limited(node, replace(scope, aliases=columns)))

    def _select(self, node: exp.Select, outer: _Scope) -> Relation:
        scope, rows, first = self._from(node, outer)
        if where := node.args.get("where"):
            rows |= indirect(self.expression(where.this, scope))
        scope = replace(scope, rows=rows)
        grouped, aggregated = node.args.get("group"), _aggregates(node)
        columns: dict[str, Reads] = {}
        noise: set[str] = set()
        for projection in node.selects:
            if projection.alias_or_name in columns:
                raise UnreadableQueryError(f"it has two columns named {projection.alias_or_name}")
            columns[projection.alias_or_name] = self.expression(projection, scope)
            if _is_noise(projection, scope):
                noise.add(projection.alias_or_name)
            if projection.find(exp.Unnest, exp.Explode):  # as many rows as it has elements
                rows, first = rows | indirect(columns[projection.alias_or_name]), None
        keys: tuple[frozenset[str], ...] = ()
        if grouped is not None:
            rows = rows.union(*(indirect(self.expression(key, scope)) for key in _group_keys(node, grouped)))
            keys = _keys_of_groups(node, grouped)
        elif aggregated:  # one row, whatever there is
            rows, keys = NOTHING, (frozenset(),)
        elif first is not None:
            keys = _keys_passed_on(node, first, scope.tables[first])
        scope = replace(scope, aliases=columns)
        for clause in ("having", "qualify"):
            if condition := node.args.get(clause):
                rows |= indirect(self.expression(condition.this, scope))
        if distinct := node.args.get("distinct"):
            on = distinct.args.get("on")
            chosen = [self.expression(on, scope), self._order(node, scope)] if on is not None else columns.values()
            rows = rows.union(*(indirect(reads) for reads in chosen))
            keys = (*keys, frozenset(columns)) if on is None else keys
        return Relation(columns, rows | self._limited(node, scope), keys, frozenset(noise))

    def _limited(self, node: exp.Expr, scope: _Scope) -> Reads:
        """What decides on the rows of a query that does not give all it has."""
        if not (node.args.get("limit") or node.args.get("offset") or node.args.get("sample")):
            return NOTHING
        return indirect(self._order(node, scope))

    def _order(self, node: exp.Expr, scope: _Scope) -> Reads:
        order = node.args.get("order")
        return NOTHING if order is None else self.expression(order, scope)

    # --- what a select reads from ------------------------------------------------------------------------------------

    def _from(self, node: exp.Select, outer: _Scope) -> tuple[_Scope, Reads, str | None]:
        """The tables of a select, what decides on its rows, and the table whose rows it has one by one, if any."""
        clause = node.args.get("from_")
        if clause is None:
            return outer, NOTHING, None
        first = clause.this.alias_or_name
        relation = self._source(clause.this, outer)
        scope = replace(outer, tables={**outer.tables, first: relation}, aliases={})
        rows, one_by_one = relation.rows, True
        mine = [first]
        for join in node.args.get("joins") or []:
            name, joined = join.this.alias_or_name, self._source(join.this, scope)
            scope = replace(scope, tables={**scope.tables, name: joined})
            condition = join.args.get("on")
            _understood(join, {"this", "on", "side", "kind", "method"})
            met = joined.rows | (indirect(self.expression(condition, scope)) if condition is not None else NOTHING)
            side, kind = (join.side or "").upper(), (join.kind or "").upper()
            if side == "LEFT" and kind in {"", "OUTER"}:
                scope = _maybe_missing(scope, [name], met)
                if not _at_most_one(joined, name, condition):
                    rows, one_by_one = rows | met, False
            else:
                rows, one_by_one = rows | met, one_by_one and kind in {"SEMI", "ANTI"}
                if side in {"RIGHT", "FULL"}:
                    scope = _maybe_missing(scope, [*mine, name], rows)
            mine.append(name)
        return scope, rows, first if one_by_one else None

    def _source(self, node: exp.Expr, scope: _Scope) -> Relation:
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            return self._table(node, scope)
        if isinstance(node, exp.Lateral):
            return _renamed(self.query(node.this, scope), node.args.get("alias"))
        if isinstance(node, exp.Subquery):
            return self.query(node, replace(scope, tables={}))
        if isinstance(node, exp.Values | exp.Unnest):
            return self._generated(node, scope, node.expressions)
        raise UnreadableQueryError(f"it reads from {node.sql(dialect=DIALECT)[:60]!r}, which is not followed")

    def _table(self, node: exp.Table, scope: _Scope) -> Relation:
        _understood(node, {"this", "db", "alias"})
        if not node.db and node.name in scope.ctes:
            return scope.ctes[node.name]
        name = f"{node.db}.{node.name}"
        if name not in self._relations:
            raise UnreadableQueryError(f"{name.lstrip('.')} is neither a model, a seed nor a source")
        known = self._relations[name]
        columns = {column: frozenset({Read(name, column)}) for column in known.columns}
        return Relation(columns, frozenset({Read(name, ROWS)}), known.keys)

    def _generated(self, node: exp.Expr, scope: _Scope, parts: Iterable[exp.Expr]) -> Relation:
        """Rows made up from values: all columns alike, and the rows too, since values decide how many there are."""
        reads = NOTHING.union(*(self.expression(part, scope) for part in parts))
        return Relation(dict.fromkeys(node.alias_column_names, reads), reads)

    # --- expressions -------------------------------------------------------------------------------------------------

    def expression(self, node: exp.Expr, scope: _Scope) -> Reads:
        """What the value of an expression is made from."""
        for kind, method in self._special.items():
            if isinstance(node, kind):
                return method(node, scope)
        return NOTHING.union(*(self.expression(part, scope) for part in node.iter_expressions()))

    def _refused(self, node: exp.Expr, _: _Scope) -> Reads:
        raise UnreadableQueryError(f"{node.sql(dialect=DIALECT)[:60]!r} does not say which columns it reads")

    def _column(self, node: exp.Expr, scope: _Scope) -> Reads:
        table = node.text("table")
        if not table and node.name in scope.aliases:
            return scope.aliases[node.name]
        relation = scope.tables.get(table)
        if relation is None or node.name not in relation.columns:
            raise UnreadableQueryError(
                f"column {node.sql(dialect=DIALECT)} could be that of several tables, or of none"
            )
        return relation.columns[node.name]

    def _subquery(self, node: exp.Expr, scope: _Scope) -> Reads:
        """A query used as a value: its columns are, and whether it has rows decides."""
        inner = node.this if isinstance(node, exp.Exists) else node
        relation = self.query(inner, replace(scope, aliases={}))
        columns = NOTHING if isinstance(node, exp.Exists) else NOTHING.union(*relation.columns.values())
        return columns | indirect(relation.rows)

    def _window(self, node: exp.Expr, scope: _Scope) -> Reads:
        parts = [part for part in node.iter_expressions() if part is not node.this]
        around = NOTHING.union(*(self.expression(part, scope) for part in parts))
        return self.expression(node.this, scope) | indirect(around | scope.rows)

    def _filtered(self, node: exp.Expr, scope: _Scope) -> Reads:
        return self.expression(node.this, scope) | indirect(self.expression(node.expression, scope))

    def _condition(self, node: exp.Expr, scope: _Scope) -> Reads:
        """One branch of a case: what it is decided by, and what it gives."""
        given = NOTHING.union(
            *(self.expression(part, scope) for part in node.iter_expressions() if part is not node.this)
        )
        return indirect(self.expression(node.this, scope)) | given

    def _sum(self, node: exp.Expr, scope: _Scope) -> Reads:
        """Adding noise to a value masks the value, once: a second time could take it off again. What the noise is drawn
        for is not masked: it names the cell.
        """
        left, right = node.this, node.expression
        for value, drawn in ((left, right), (right, left)):
            if _is_noise(drawn, scope) and not any(_is_noise(part, scope) for part in value.walk()):
                masked = frozenset(replace(each, masked=not each.masked) for each in self.expression(value, scope))
                return masked | indirect(self.expression(drawn, scope))
        reads = self.expression(left, scope) | self.expression(right, scope)
        if all(any(_is_noise(part, scope) for part in side.walk()) for side in (left, right)):
            return frozenset(replace(each, masked=False) for each in reads)
        return reads

    def _aggregate(self, node: exp.Expr, scope: _Scope) -> Reads:
        """Over the rows there are. A count is a number of rows: it reads those directly, and no column's values."""
        parts = [part for part in node.iter_expressions() if not isinstance(part, exp.Star)]
        values = NOTHING.union(*(self.expression(part, scope) for part in parts))
        if isinstance(node, exp.Count | exp.CountIf):
            return (
                indirect(values) | frozenset(each for each in scope.rows if each.column == ROWS) | indirect(scope.rows)
            )
        return values | indirect(scope.rows)

    def _lambda(self, node: exp.Expr, scope: _Scope) -> Reads:
        parameters = {parameter.name: NOTHING for parameter in node.expressions}
        return self.expression(node.this, replace(scope, aliases={**scope.aliases, **parameters}))


def _understood(node: exp.Expr, parts: Collection[str]) -> None:
    """Refuse a node that has any other part than ``parts``."""
    for name, part in node.args.items():
        if part and name not in parts:
            raise UnreadableQueryError(f"{name.rstrip('_')} in a {node.key} is not followed")


def _renamed(relation: Relation, alias: exp.Expr | None) -> Relation:
    """A relation under the column names of its alias, where it gives any: ``as t (a, b)``."""
    names = [column.name for column in alias.args.get("columns") or []] if alias is not None else []
    if not names:
        return relation
    if len(names) != len(relation.columns):
        raise UnreadableQueryError("a query has other columns than its alias says")
    new = dict(zip(relation.columns, names, strict=True))
    keys = tuple(frozenset(new[column] for column in key) for key in relation.keys)
    noise = frozenset(new[column] for column in relation.noise)
    return Relation({new[name]: reads for name, reads in relation.columns.items()}, relation.rows, keys, noise)


def _maybe_missing(scope: _Scope, names: Iterable[str], met: Reads) -> _Scope:
    """The tables ``names`` of an outer join: their columns also say whether there was a row to join."""
    seen = indirect(met)
    changed = {
        name: replace(
            scope.tables[name],
            columns={column: reads | seen for column, reads in scope.tables[name].columns.items()},
        )
        for name in names
    }
    return replace(scope, tables={**scope.tables, **changed})


def _at_most_one(joined: Relation, name: str, condition: exp.Expr | None) -> bool:
    """Whether a row can meet one row of ``joined`` at most: the condition fixes every column of one of its keys."""
    fixed = set(_fixed(condition, name)) if condition is not None else set()
    return any(key <= fixed for key in joined.keys)


def _fixed(condition: exp.Expr, name: str) -> Iterator[str]:
    """Columns of table ``name`` that the condition says equal something outside it."""
    parts = condition.flatten() if isinstance(condition, exp.And) else [condition]
    for part in (each.unnest() for each in parts):
        if isinstance(part, exp.EQ | exp.NullSafeEQ):
            for mine, other in ((part.this, part.expression), (part.expression, part.this)):
                if (
                    isinstance(mine, exp.Column)
                    and mine.table == name
                    and all(column.table != name for column in other.find_all(exp.Column))
                ):
                    yield mine.name


def _aggregates(node: exp.Select) -> bool:
    """Whether a select without ``group by`` makes one row of all: by an aggregate outside windows and subqueries."""
    return any(
        found.find_ancestor(exp.Window, exp.Query) is node
        for each in node.selects
        for found in each.find_all(exp.AggFunc)
    )


def _group_keys(node: exp.Select, group: exp.Expr) -> Iterator[exp.Expr]:
    if group.args.get("all"):
        yield from (each.unalias() for each in node.selects if not each.find(exp.AggFunc))
    yield from group.expressions
    for kind in ("grouping_sets", "rollup", "cube"):
        yield from group.args.get(kind) or []


def _keys_of_groups(node: exp.Select, group: exp.Expr) -> tuple[frozenset[str], ...]:
    """The group's keys under the names they are selected by; none when one is not selected, or rows repeat per set."""
    if any(group.args.get(kind) for kind in ("grouping_sets", "rollup", "cube")):
        return ()
    names = {each.unalias().sql(dialect=DIALECT): each.alias_or_name for each in node.selects}
    keys = [key.sql(dialect=DIALECT) for key in _group_keys(node, group)]
    return (frozenset(names[key] for key in keys),) if set(keys) <= set(names) else ()


def _keys_passed_on(node: exp.Select, table: str, relation: Relation) -> tuple[frozenset[str], ...]:
    """Keys of the one table whose rows a select has, where it selects all their columns."""
    names = {
        each.unalias().name: each.alias_or_name
        for each in node.selects
        if isinstance(each.unalias(), exp.Column) and each.unalias().args["table"].name == table
    }
    return tuple(frozenset(names[column] for column in key) for key in relation.keys if key <= set(names))


def _is_noise(node: exp.Expr, scope: _Scope) -> bool:
    """Whether an expression is noise: drawn here, an element of an array that is, or a column of some."""
    node = node.unalias().unnest()
    if isinstance(node, exp.Column):
        relation = scope.tables.get(node.text("table"))
        return relation is not None and node.name in relation.noise
    if isinstance(node, exp.Unnest | exp.Explode):
        return _is_noise(node.this if isinstance(node, exp.Explode) else node.expressions[0], scope)
    return isinstance(node, exp.Anonymous) and node.name.lower() == NOISE
