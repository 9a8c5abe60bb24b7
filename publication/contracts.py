"""What every published mart promises: one pandera model per mart, composed from a small vocabulary.

The contract of a mart names its grain, the domain of every dimension and the display rule of every measure. It does not
look at how dbt made the mart: it is the second opinion on which a release rests. A mart without a contract is never
released.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import reduce
from operator import mul

import pandera.polars as pandera
import polars as pl
import pyarrow as pa
from pandera.errors import SchemaErrors

from infra.build_spec import BuildSpec
from infra.calendar.days import DayRange
from privacy.plan import plan

PERIOD = {
    "quarter_start": "date",
    "period_start": "date",
    "period_end": "date",
    "days_covered": "integer",
    "days_in_period": "integer",
}
"""What every mart begins with, and its types: the period of a row, and how many of its days were declared."""

_ARROW: Mapping[str, pa.DataType] = {
    "date": pa.date32(),
    "varchar": pa.string(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
}
_POLARS: Mapping[str, type[pl.DataType]] = {
    "date": pl.Date,
    "varchar": pl.String,
    "integer": pl.Int32,
    "bigint": pl.Int64,
    "double": pl.Float64,
}


class NoContractError(LookupError):
    """A mart that publication knows nothing of."""


@dataclass(frozen=True)
class Reference:
    """The public facts a contract is checked against. Names by id; ``unknown`` is one of each.

    ``units`` are the release units the candidate must hold; ``covered`` are the days of them that the silo was declared
    complete for.
    """

    units: tuple[DayRange, ...]
    covered: frozenset[date]
    zones: Mapping[str, str]
    areas: Mapping[str, str]
    places: Mapping[str, str]

    @classmethod
    def of(cls, spec: BuildSpec, mart: str, silo: str, places: Mapping[str, str]) -> Reference:
        """The reference of one mart in a build; ``places`` are those of the city and of the sensor registers."""
        return cls(
            units=tuple(DayRange(first_day=unit.first_day, last_day=unit.last_day) for unit in spec.units_of(mart)),
            covered=spec.covered_days(silo),
            zones={zone.published_zone_id: zone.published_zone_name for zone in spec.city.zones},
            areas={zone.area_id: zone.area_name for zone in spec.city.zones},
            places=places,
        )

    def periods(self, period: str) -> pl.DataFrame:
        """Every ``period`` (day, month, quarter) of the units with a covered day: the columns of :data:`PERIOD`."""
        days = sorted(day for unit in self.units for day in self.covered.intersection(unit.days))
        every = {"day": "1d", "month": "1mo", "quarter": "1q"}[period]
        end = pl.col("period_start").dt.offset_by(every).dt.offset_by("-1d")
        return (
            pl.DataFrame({"day": pl.Series(days, dtype=pl.Date)})
            .group_by(
                pl.col("day").dt.truncate("1q").alias("quarter_start"),
                pl.col("day").dt.truncate(every).alias("period_start"),
            )
            .agg(pl.len().cast(pl.Int32).alias("days_covered"))
            .with_columns(period_end=end)
            .with_columns(
                days_in_period=(pl.col("period_end") - pl.col("period_start")).dt.total_days().cast(pl.Int32) + 1
            )
            .select(*PERIOD)
            .sort("period_start")
        )


@dataclass(frozen=True)
class Dimension:
    """A column of the grain and what it may hold; ``name`` is the column that spells it out, if any."""

    column: str
    type: str
    values: Callable[[Reference], Sequence[object]]
    name: str | None = None
    names: Callable[[Reference], Mapping[str, str]] | None = None


@dataclass(frozen=True)
class Measure:
    """A measure with a display rule: shown from ``threshold`` on, otherwise null with the label ``<threshold``.

    Of a mean, ``double``, the threshold is that of the count which it is made from: divided as the count is, it is
    another number in each label.
    """

    column: str
    type: str
    threshold: int

    @property
    def label(self) -> str:
        return f"{self.column}_label"

    @property
    def hidden(self) -> str:
        """The label of a hidden count."""
        return f"<{self.threshold}"

    @property
    def shown(self) -> pl.Expr:
        """Whether a value may be shown."""
        least = 0 if self.type == "double" else self.threshold
        return _finite(self) & (pl.col(self.column) >= least)

    @property
    def labelled(self) -> pl.Expr:
        """Whether a label is one of a hidden value."""
        label = pl.col(self.label)
        return label.str.contains(r"^<[1-9]\d*$") if self.type == "double" else label == self.hidden


@dataclass(frozen=True)
class Companion:
    """A measure that says more about the cell of a :class:`Measure`, and is hidden with it. Bounds are inclusive."""

    column: str
    type: str
    least: float = 0
    most: float | None = None


@dataclass(frozen=True)
class Violation:
    """A rule a mart breaks: which, in which column, in how many rows. Never a value."""

    rule: str
    column: str | None
    rows: int | None

    def sentence(self) -> str:
        where = f" in column {self.column}" if self.column else ""
        many = f", {self.rows} rows" if self.rows else ""
        return f"{self.rule}{where}{many}"


@dataclass(frozen=True)
class Contract:
    """The contract of one mart; ``period`` is day, month or quarter.

    ``version`` follows :mod:`infra.contract_versions`; ``docs/contracts`` holds every version there was.
    """

    mart: str
    period: str
    dimensions: tuple[Dimension, ...]
    measure: Measure
    companions: tuple[Companion, ...] = ()
    version: str = "1.0.0"
    columns: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        columns = dict(PERIOD)
        for dimension in self.dimensions:
            columns[dimension.column] = dimension.type
            if dimension.name:
                columns[dimension.name] = "varchar"
        columns[self.measure.column] = self.measure.type
        columns[self.measure.label] = "varchar"
        columns.update({companion.column: companion.type for companion in self.companions})
        object.__setattr__(self, "columns", columns)

    @property
    def grain(self) -> tuple[str, ...]:
        return ("period_start", *(dimension.column for dimension in self.dimensions))

    @property
    def order(self) -> tuple[str, ...]:
        """The order of rows in every file: by quarter, then by grain."""
        return ("quarter_start", *self.grain)

    def arrow_schema(self) -> pa.Schema:
        """The physical schema of the mart's files."""
        return pa.schema([(name, _ARROW[kind]) for name, kind in self.columns.items()])

    def model(self, reference: Reference) -> pandera.DataFrameSchema:
        """The pandera model of this mart against ``reference``. Every check is named after its rule."""
        columns = {
            name: pandera.Column(_POLARS[kind], nullable=False, required=True) for name, kind in self.columns.items()
        }
        for dimension in self.dimensions:
            columns[dimension.column].checks = [_check("known_value", _is_in(dimension.column, dimension, reference))]
        hideable = (self.measure.column, self.measure.label, *(companion.column for companion in self.companions))
        for name in hideable:
            columns[name].nullable = True
        columns[self.measure.column].checks = [
            _check("shown_from_threshold", self.measure.shown),
        ]
        columns[self.measure.label].checks = [
            _check("label_text", self.measure.labelled),
        ]
        for companion in self.companions:
            columns[companion.column].checks = [_check("range", _within(companion))]
        return pandera.DataFrameSchema(
            columns, checks=self._table_checks(reference), strict=True, ordered=True, name=self.mart
        )

    def _table_checks(self, reference: Reference) -> list[pandera.Check]:
        measure = self.measure
        hidden = pl.col(measure.column).is_null()
        periods = reference.periods(self.period)
        checks = [
            _check(
                "period_of_calendar",
                pl.struct(*PERIOD).is_in(periods.select(pl.struct(*PERIOD)).to_series().implode()),
            ),
            _check("grain_unique", pl.struct(self.grain).is_unique()),
            _check("grid_complete", self._complete(reference, periods)),
            _check("hidden_iff_labelled", hidden == pl.col(measure.label).is_not_null()),
        ]
        checks += [
            _check("companion_hidden", pl.col(companion.column).is_null() | hidden.not_(), companion.column)
            for companion in self.companions
        ]
        checks += [
            _check(
                "name_of_id",
                pl.col(dimension.name)
                == pl.col(dimension.column).replace_strict(dimension.names(reference), default=None),
                dimension.name,
            )
            for dimension in self.dimensions
            if dimension.name and dimension.names
        ]
        return checks

    def _complete(self, reference: Reference, periods: pl.DataFrame) -> pl.Expr:
        """Whether a row's period has as many rows as the grid: of known values and a unique grain, they are it."""
        cells = reduce(mul, (len(dimension.values(reference)) for dimension in self.dimensions), 1)
        return (pl.len().over("period_start") == cells) & (pl.col("period_start").n_unique() == periods.height)


def check(contract: Contract, frame: pl.DataFrame, reference: Reference) -> list[Violation]:
    """The rules that ``frame`` breaks, in the order of the contract; empty when it may go on."""
    if frame.is_empty() or reference.periods(contract.period).is_empty():
        nothing_due = frame.is_empty() and reference.periods(contract.period).is_empty()
        return [] if nothing_due else [Violation("grid_complete", None, frame.height)]
    model = contract.model(reference)
    # Structure first: no rule about values means anything on columns that are missing or of another type.
    structure = pandera.DataFrameSchema(
        {name: pandera.Column(column.dtype, nullable=True) for name, column in model.columns.items()},
        strict=True,
        ordered=True,
    )
    return _violations(structure, frame) or _violations(model, frame)


def of(mart: str) -> Contract:
    """The contract of ``mart``.

    Raises:
        NoContractError: there is none; the message says where to write it.
    """
    try:
        return CONTRACTS[mart]
    except KeyError:
        raise NoContractError(f"mart {mart} has no contract: declare it in publication/contracts.py") from None


def _violations(model: pandera.DataFrameSchema, frame: pl.DataFrame) -> list[Violation]:
    try:
        model.validate(frame, lazy=True)
    except SchemaErrors as errors:
        # Only names and counts are taken out of pandera's report: its failure cases hold values.
        return [
            Violation(
                rule=error.check if isinstance(error.check, str) else error.check.name,
                column=(error.check.description if not isinstance(error.check, str) else None)
                or (error.schema.name if error.schema.name in frame.columns else _named(error)),
                rows=_failures(error.check_output),
            )
            for error in errors.schema_errors
        ]
    return []


def _named(error: object) -> str | None:
    """The column that a structural error is about, when pandera names one."""
    case = getattr(error, "failure_cases", None)
    return case if isinstance(case, str) else None


def _failures(output: pl.DataFrame | None) -> int | None:
    if output is None or output.width != 1:
        return None
    return output.height - int(output.to_series().fill_null(value=True).sum())


def _check(rule: str, holds: pl.Expr, column: str | None = None) -> pandera.Check:
    """A vectorised check: a null verdict passes; one failing row is kept, as pandera makes a Python object of each."""
    return pandera.Check(
        lambda data: data.lazyframe.select(holds.alias("holds")), name=rule, description=column, n_failure_cases=1
    )


def _is_in(column: str, dimension: Dimension, reference: Reference) -> pl.Expr:
    return pl.col(column).is_in(pl.Series(dimension.values(reference), dtype=_POLARS[dimension.type]).implode())


def _finite(measure: Measure | Companion) -> pl.Expr:
    """NaN is not null, and greater than any bound: it must be refused by name."""
    return pl.col(measure.column).is_finite()


def _within(companion: Companion) -> pl.Expr:
    column = pl.col(companion.column)
    within = (column >= companion.least) & _finite(companion)
    return within & (column <= companion.most) if companion.most is not None else within


# --- the vocabulary --------------------------------------------------------------------------------------------------


def _fixed(*values: object) -> Callable[[Reference], Sequence[object]]:
    return lambda _: values


def _one_of(column: str, *values: str) -> Dimension:
    return Dimension(column, "varchar", _fixed(*values))


AREA = Dimension("area_id", "varchar", lambda known: tuple(known.areas), "area_name", lambda known: known.areas)
ZONE = Dimension("zone_id", "varchar", lambda known: tuple(known.zones), "zone_name", lambda known: known.zones)
PLACE = Dimension("place_id", "varchar", lambda known: tuple(known.places), "place_name", lambda known: known.places)
WEEKDAY = Dimension("iso_weekday", "integer", _fixed(*range(1, 8)))
HOUR = Dimension("hour", "integer", _fixed(*range(24)))

NATURE_GROUP = _one_of(
    "nature_group",
    "stationnement_genant",
    "stationnement_tres_genant",
    "autre_stationnement",
    "vitesse_priorite",
    "conduite",
    "autre",
)
REASON_GROUP = _one_of(
    "reason_group",
    "stationnement_genant",
    "stationnement_tres_genant",
    "abusif_epave",
    "manifestation_travaux",
    "autre",
)
DELAY_GROUP = _one_of("delay_group", "under_1_day", "1_to_3_days", "over_3_days", "not_impounded", "unknown")
DAY_TYPE = _one_of("day_type", "weekday", "weekend")
DIRECTION = _one_of("direction", "in", "out", "both")
CATEGORY = _one_of("category", "resident", "worker", "visitor")
TIME_BAND = _one_of("time_band", "night", "morning", "midday", "evening_peak", "evening")
EVENT_TIME_BAND = _one_of("time_band", "night", "morning", "midday", "evening_peak", "evening", "unknown")


def _counts(column: str) -> Callable[[str], Measure]:
    return lambda mart: Measure(column, "bigint", plan().marts[mart].threshold)


def _means(column: str) -> Callable[[str], Measure]:
    return lambda mart: Measure(column, "double", plan().marts[mart].threshold)


FINES, TOWS, PEOPLE, MEAN_PEOPLE = _counts("fines"), _counts("tows"), _counts("people"), _means("mean_people")


def _contract(
    mart: str,
    period: str,
    dimensions: tuple[Dimension, ...],
    measure: Callable[[str], Measure],
    *companions: Companion,
    version: str = "2.0.0",
) -> Contract:
    return Contract(mart, period, dimensions, measure(mart), companions, version)


# --- the contracts ---------------------------------------------------------------------------------------------------

CONTRACTS: Mapping[str, Contract] = {
    contract.mart: contract
    for contract in (
        _contract("fines_by_day", "day", (AREA,), FINES),
        _contract("fines_by_month", "month", (ZONE,), FINES),
        _contract("fines_by_nature", "month", (AREA, NATURE_GROUP), FINES),
        _contract("fines_profile", "quarter", (AREA, DAY_TYPE, EVENT_TIME_BAND), FINES),
        _contract("tows_by_month", "month", (), TOWS),
        _contract("tows_by_month_and_reason", "month", (REASON_GROUP,), TOWS, version="1.0.0"),
        _contract("tows_by_area", "quarter", (AREA,), TOWS),
        _contract("tows_by_reason", "quarter", (REASON_GROUP,), TOWS),
        _contract("tows_delay", "quarter", (DELAY_GROUP,), TOWS),
        _contract("tows_profile", "quarter", (EVENT_TIME_BAND,), TOWS),
        _contract(
            "crowd_by_day",
            "day",
            (PLACE,),
            PEOPLE,
            Companion("peak_density", "double"),
            Companion("hours_over_threshold", "bigint", most=24),
        ),
        _contract("crowd_by_month", "month", (PLACE, DIRECTION), PEOPLE),
        _contract("crowd_profile", "quarter", (PLACE, WEEKDAY, HOUR), MEAN_PEOPLE, Companion("mean_density", "double")),
        _contract("footfall_by_day", "day", (AREA, CATEGORY), MEAN_PEOPLE),
        _contract("footfall_by_month", "month", (ZONE, TIME_BAND, CATEGORY), MEAN_PEOPLE),
        _contract("footfall_profile", "quarter", (ZONE, WEEKDAY, HOUR, CATEGORY), MEAN_PEOPLE),
    )
}
