"""Apply a contract (a pandera model) to a batch: good rows go on, the others are rejected with every rule they broke.

pandera validates the columns, types and nulls of the batch, and says what each of its checks comes to; all of them are
worked out in one query, for their row masks. Letting it collect the failures itself would copy failing values into
exception messages, and fails outright on frames with binary columns (its report of a rule about several columns is
written as JSON).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Literal, NamedTuple

import pandera.polars as pa
import polars as pl
from pandera.api.polars.types import PolarsData
from pandera.backends.polars.checks import PolarsCheckBackend
from pandera.constants import CHECK_OUTPUT_KEY
from pandera.errors import SchemaErrors

Severity = Literal["error", "warning"]

REJECTS = pl.Schema({"row": pl.Int64, "rule": pl.String, "column": pl.String, "severity": pl.String})
"""One line per row and rule broken: ``row`` is the 1-based record number in the delivery, ``column`` is null for a rule
about several columns; once conformed, it names the sender's own column or columns."""


class ContractMismatchError(RuntimeError):
    """A frame or a rule that does not fit its contract: a mistake in our code, not in the delivery."""


class Checked(NamedTuple):
    """The outcome of a check: the rows that passed every error rule, in order, and all :data:`REJECTS`."""

    good: pl.DataFrame
    rejects: pl.DataFrame


_Rule = tuple[str | None, pa.Check]  # its column, or None for a rule about several


class _Contract(NamedTuple):
    structure: pa.DataFrameSchema  # columns, types and nulls; no checks
    checks: tuple[_Rule, ...]


def no_rejects() -> pl.DataFrame:
    return pl.DataFrame(schema=REJECTS)


def reject(rows: pl.Series, rule: str, column: str | None = None, severity: Severity = "error") -> pl.DataFrame:
    """:data:`REJECTS` for the record numbers ``rows``, each once, all for one ``rule``."""
    return pl.select(
        row=rows.cast(pl.Int64).unique(maintain_order=True),
        rule=pl.lit(rule),
        column=pl.lit(column, pl.String),
        severity=pl.lit(severity),
    )


def check(model: type[pa.DataFrameModel], frame: pl.DataFrame) -> Checked:
    """Split ``frame``, which has a column ``row``, into the rows that satisfy ``model`` and the rejects.

    ``row`` need not be a column of ``model``.

    The rule of a failing check is its ``name`` (or its ``error``, when that is a plain word); a null where none may be
    is rule ``not_nullable``. A check declared with ``raise_warning`` reports its rows as warnings and keeps them.
    Several lines of ``frame`` may share one ``row``; a line that fails does not take the others down.

    Raises:
        ContractMismatchError: a column is missing or has another type, or a rule cannot be evaluated.
    """
    if frame.is_empty():
        return Checked(frame, no_rejects())
    bad = pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)
    rejects = []
    for rule, column, severity, failed in _failures(model, frame):
        rejects.append(reject(frame["row"].filter(failed), rule, column, severity))
        if severity == "error":
            bad |= failed
    if not rejects:
        return Checked(frame, no_rejects())
    return Checked(frame.filter(~bad), pl.concat(rejects))


def _failures(
    model: type[pa.DataFrameModel], frame: pl.DataFrame
) -> Iterator[tuple[str, str | None, Severity, pl.Series]]:
    """Rule, column, severity and row mask of every rule that at least one line breaks."""
    contract = _contract(model)
    if "row" not in contract.structure.columns:
        frame = frame.drop("row")
    _require_structure(model, tuple(frame.schema.items()))
    for name, column in contract.structure.columns.items():
        if not column.nullable and (failed := _missing(frame[name])) is not None:
            yield "not_nullable", name, "error", failed
    for (column, rule), passed in zip(contract.checks, _passed(model, contract.checks, frame), strict=True):
        if not passed.all():
            yield _name(rule), column, "warning" if rule.raise_warning else "error", ~passed


def _passed(model: type[pa.DataFrameModel], checks: Sequence[_Rule], frame: pl.DataFrame) -> list[pl.Series]:
    """Of each rule, whether each line of ``frame`` satisfies it.

    Raises:
        ContractMismatchError: a rule cannot be evaluated.
    """
    lazy = frame.lazy()

    def output(column: str | None, rule: pa.Check) -> pl.LazyFrame:
        outcome: pl.LazyFrame = PolarsCheckBackend(rule).apply(PolarsData(lazy, column or "*"))
        return outcome.select(pl.col(CHECK_OUTPUT_KEY).fill_null(rule.ignore_na))

    def fails(column: str | None, rule: pa.Check) -> bool:
        try:
            output(column, rule).collect()
        except pl.exceptions.PolarsError:
            return True
        return False

    try:
        return [found.to_series() for found in pl.collect_all([output(*each) for each in checks])]
    except pl.exceptions.PolarsError as error:
        # Not chained: such an error may quote the value that it could not convert.
        titles = ", ".join(_name(rule) for column, rule in checks if fails(column, rule))
        raise ContractMismatchError(f"{model.__name__}: rule {titles} fails with {type(error).__name__}") from None


def _missing(values: pl.Series) -> pl.Series | None:
    """Where a value is missing, to pandera: a null, or what is no number. None where none is."""
    if values.dtype.is_float() and values.is_nan().any():
        return values.is_null() | values.is_nan().fill_null(False)
    return values.is_null() if values.null_count() else None


@cache
def _require_structure(model: type[pa.DataFrameModel], schema: tuple[tuple[str, pl.DataType], ...]) -> None:
    """Whether frames of this schema fit the model, worked out once for all the batches of a delivery.

    Raises:
        ContractMismatchError: they do not.
    """
    contract, empty = _contract(model), pl.DataFrame(schema=schema)
    try:
        contract.structure.validate(empty, lazy=True)
    except SchemaErrors as failure:
        kinds = sorted(
            f"{error.column_name or error.failure_cases}: {error.reason_code.value}" for error in failure.schema_errors
        )
        raise ContractMismatchError(f"a frame does not fit {model.__name__}: {'; '.join(kinds)}") from None
    for column, rule in contract.checks:
        with suppress(pl.exceptions.PolarsError):  # it fails on real frames as well, and is named then
            rule(empty.lazy(), column)  # by which pandera finds what its built-in checks are for Polars


@cache
def _contract(model: type[pa.DataFrameModel]) -> _Contract:
    schema = model.to_schema()
    checks = [(name, rule) for name, column in schema.columns.items() for rule in column.checks]
    checks += [(None, rule) for rule in schema.checks]
    structure = copy.deepcopy(schema)
    structure.checks = []
    for column in structure.columns.values():
        column.checks = []
    return _Contract(structure, tuple(checks))


def _name(rule: pa.Check) -> str:
    # pandera's own checks carry an error such as "isin(['a', 'b'])": a description, not a name.
    if rule.error and rule.error.isidentifier():
        return str(rule.error)
    return str(rule.name or "unnamed")
