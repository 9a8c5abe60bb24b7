"""What the steward site tells, as plain data. Texts are English; :mod:`stewardship.site.words` has other languages.

Two editions are made from the same facts. :func:`for_everybody` leaves out whatever rows that came decide before noise:
the site of role analyst has none of it, by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from infra.calendar.days import DayRange
from infra.lineage.classification import Classification


@dataclass(frozen=True)
class Field:
    """A column of a contract or of a mart; ``type`` is a word for people: text, whole number, date..."""

    name: str
    type: str
    classification: Classification
    description: str | None = None
    may_be_empty: bool = True
    made_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rule:
    """A rule of a silo's contracts: ``meaning`` says what it is and what to do."""

    name: str
    meaning: str
    is_warning: bool


@dataclass(frozen=True)
class Contract:
    """One dataset of a silo: what is delivered, and what of it is kept (the conformed table)."""

    name: str
    version: str
    description: str
    is_reference: bool
    key: tuple[str, ...]
    delivered: tuple[Field, ...]
    kept: tuple[Field, ...]


@dataclass(frozen=True)
class DeliveryFormat:
    """One accepted way of delivering. ``layouts`` is how many ways of writing it are recognised."""

    name: str
    title: str
    dataset: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    layouts: int


@dataclass(frozen=True)
class SiloFacts:
    """One line of the register of processing, with its contracts."""

    name: str
    title: str
    steward: str
    purpose: str
    legal_basis: str
    recipients: tuple[str, ...]
    landing: timedelta
    quarantine: timedelta
    conformed_months: int | None
    privacy_unit: str
    freshness: timedelta
    contracts: tuple[Contract, ...]
    formats: tuple[DeliveryFormat, ...]
    rules: tuple[Rule, ...]
    marts: tuple[str, ...]


@dataclass(frozen=True)
class Privacy:
    """What a mart spends and how it is measured; ``noise`` is the margin of one measured count, 19 times in 20."""

    budget: str
    unit: str
    limit: Fraction
    spends: Fraction
    release: Literal["day", "month", "quarter"]
    bound: int
    threshold: int
    noise: int
    settling_days: int


@dataclass(frozen=True)
class Check:
    """A test of a mart: ``kind`` is the name of a dbt generic test, ``column`` what it looks at."""

    kind: str
    column: str | None
    detail: str | None = None


@dataclass(frozen=True)
class Thread:
    """One thread of a lineage picture: a column is made from another.

    ``from_table`` is ``delivered.x``, ``conformed.x`` or ``public`` (a list that anybody may see). ``direct``: its
    value is in there, else it only decides. ``noisy``: it passes counting and noise on the way.
    """

    from_table: str
    from_column: str
    to_table: str
    to_column: str
    direct: bool
    noisy: bool


@dataclass(frozen=True)
class Origin:
    """A column in a lineage picture, and its class."""

    table: str
    column: str
    classification: Classification


@dataclass(frozen=True)
class Descent:
    """Where the columns of one mart come from: the columns in order of table, the threads, and the models between."""

    columns: tuple[Origin, ...]
    threads: tuple[Thread, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True)
class MartFacts:
    """One published table. ``version`` is that of its contract, as the code has it."""

    name: str
    silo: str
    description: str
    version: str
    grain: tuple[str, ...]
    columns: tuple[Field, ...]
    privacy: Privacy
    checks: tuple[Check, ...]
    descent: Descent


@dataclass(frozen=True)
class Day:
    """What one silo delivered on one day (UTC)."""

    day: date
    deliveries: int
    refused: int
    rows_in: int | None
    accepted: int | None
    quarantined: int | None


@dataclass(frozen=True)
class Delivery:
    """One delivery: never its file name, which may hold anything."""

    delivery_id: str
    landed_at: datetime
    settled_at: datetime | None
    format: str | None
    status: str
    corrects: str | None
    rows_in: int | None
    accepted: int | None
    quarantined: int | None
    by_rule: Mapping[str, int]
    warnings: Mapping[str, int]


@dataclass(frozen=True)
class SiloState:
    """How a silo is. ``state``: ``fresh``, ``late`` (day ``overdue`` should be there) or ``silent`` (never any).

    ``covered`` are the days that it was declared complete for.
    """

    state: Literal["fresh", "late", "silent"]
    newest: datetime | None
    overdue: date | None
    covered: tuple[DayRange, ...]
    waiting: int
    recent: tuple[Delivery, ...]
    days: tuple[Day, ...]
    by_rule: Mapping[str, int]
    warnings: Mapping[str, int]

    @property
    def missing(self) -> int:
        """How many days between the first and the last covered one nobody declared."""
        return sum((after.first_day - before.last_day).days - 1 for before, after in pairwise(self.covered))


@dataclass(frozen=True)
class Release:
    """One version of a mart. ``rows`` is the size of its public grid, which tells of nobody."""

    version: int
    released_at: datetime
    rows: int
    period_start: date | None
    period_end: date | None
    periods: int
    corrected: int


@dataclass(frozen=True)
class MartState:
    """How a mart is. The edition for everybody has its releases only."""

    releases: tuple[Release, ...]
    is_held: bool
    held_because: str | None
    late_rows: int | None


@dataclass(frozen=True)
class RunDay:
    """How many runs of all kinds of work ended on a day (UTC)."""

    day: date
    succeeded: int
    failed: int


@dataclass(frozen=True)
class Work:
    """One kind of work, a DAG, over the time that is shown. Seconds are from a run's begin to its end."""

    dag_id: str
    runs: int
    failed: int
    median_seconds: float
    longest_seconds: float
    newest: datetime
    newest_succeeded: bool


@dataclass(frozen=True)
class Runs:
    """What Airflow ran: nothing in a lake without it."""

    days: tuple[RunDay, ...]
    work: tuple[Work, ...]


@dataclass(frozen=True)
class Warned:
    """A warning that stands: see the runbook of its kind."""

    kind: str
    subject: str
    about: str | None
    owner: str
    since: datetime


@dataclass(frozen=True)
class Living:
    """What a running lake adds: its state at ``as_of``. The edition for everybody has nothing of silos and runs."""

    as_of: datetime
    silos: Mapping[str, SiloState]
    marts: Mapping[str, MartState]
    runs: Runs
    warned: tuple[Warned, ...]


@dataclass(frozen=True)
class Facts:
    """All that a site is made from; ``living`` is None without a lake."""

    city: str
    time_zone: str
    silos: tuple[SiloFacts, ...]
    marts: tuple[MartFacts, ...]
    living: Living | None

    @property
    def plan_budgets(self) -> tuple[Privacy, ...]:
        """One mart's parameters for each budget, in the order of the marts."""
        return tuple({mart.privacy.budget: mart.privacy for mart in reversed(self.marts)}.values())[::-1]


def for_everybody(facts: Facts) -> Facts:
    """The facts without what rows decide before noise, and without what stewards have to act on.

    That is all about deliveries: a file may hold a single row, so when one came, how many and what became of them tell
    of it, and so do the runs that they begin. Of marts, what the ledger made public: their releases.
    """
    if facts.living is None:
        return facts
    marts = {
        name: replace(state, is_held=False, held_because=None, late_rows=None)
        for name, state in facts.living.marts.items()
    }
    return replace(facts, living=replace(facts.living, silos={}, marts=marts, runs=Runs((), ()), warned=()))
