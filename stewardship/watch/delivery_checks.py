"""Looks at the deliveries of every silo and says what a person has to know: the alerts that stand now.

Rows by event day come from Iceberg's metadata (a partition holds a day, a file says how many rows it has), everything
else from the registry: the cost is that of a few weeks of manifests, whatever the tables hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

import psycopg
from psycopg.rows import class_row

from infra import catalog
from infra.calendar import clock
from infra.calendar.holidays import Calendar
from infra.city.profile import calendar
from infra.registry import DeliveryRow
from infra.settings import Settings
from ingestion import expectations
from ingestion.conformed import undeclared
from ingestion.register import REFERENCE_DAY, Silo, silos
from ingestion.rows import quarantine
from ingestion.rows.conforming import RULES as ENGINE_RULES
from stewardship.alerts import Alert, BrokenRule

ROLE = "pipeline"
WINDOW_DAYS = 14
"""How far back deliveries and event days are looked at: what is older is history, and warned of no more."""

_Spike = Literal["quarantine-spike", "contract-warning"]

_HISTORY = 20  # deliveries a delivery is compared with
_ROWS_TOLD = 100


@dataclass(frozen=True)
class Arrival:
    """How fresh a silo is: the newest event day really delivered, and the day that is overdue, if one is."""

    silo: str
    newest: date | None
    overdue: date | None
    due: datetime | None  # when the day after the newest is, or was, to be there


def arrivals(settings: Settings, connection: psycopg.Connection) -> list[Arrival]:
    """How fresh every silo is, in alphabetical order."""
    return [arrival for _, _, arrival in _arrived(settings, connection)]


def of_days(settings: Settings, connection: psycopg.Connection) -> list[Alert]:
    """Silos that are too old (``freshness``), and event days with too few or too many rows (``volume``).

    Of a silo that never delivered nothing is expected.
    """
    now, kept = clock.now(settings), calendar(settings)
    alerts: list[Alert] = []
    for silo, rows, arrival in _arrived(settings, connection):
        if arrival.newest is None:
            continue
        if arrival.overdue is not None:
            alerts.append(_too_old(silo, arrival))
        odd = expectations.odd_days(
            rows, arrival.newest, silo.freshness, silo.expectations, kept, now=now, window=WINDOW_DAYS
        )
        alerts += [_odd_day(silo, *found) for found in odd]
    return alerts


def of_deliveries(settings: Settings, connection: psycopg.Connection) -> list[Alert]:
    """Deliveries of the last :data:`WINDOW_DAYS` days that were refused or parked, or with more rows quarantined
    (``quarantine-spike``) or warned of (``contract-warning``) than usual.

    Deliveries with the same rule in excess make one alert, about the newest of them.
    """
    since = clock.now(settings) - timedelta(days=WINDOW_DAYS)
    alerts: list[Alert] = []
    for silo in silos().values():
        known = _settled(connection, silo.name)
        recent = [delivery for delivery in known if delivery.settled_at is not None and delivery.settled_at >= since]
        alerts += [
            _unread(silo, delivery)
            for delivery in known
            if delivery.status == "parked" or (delivery.status == "refused" and delivery in recent)
        ]
        committed = [delivery for delivery in known if delivery.status == "committed" and delivery.rows_in]
        excess: dict[tuple[_Spike, str], list[tuple[DeliveryRow, float]]] = {}
        for number, delivery in enumerate(committed):
            if delivery not in recent:
                continue
            before = [other for other in committed[:number] if other.format == delivery.format][-_HISTORY:]
            for kind_and_rule, share in _excess(delivery, before, silo):
                excess.setdefault(kind_and_rule, []).append((delivery, share))
        alerts += [_spike(settings, silo, kind, rule, found) for (kind, rule), found in excess.items()]
    return alerts


def of_undeclared(settings: Settings, connection: psycopg.Connection) -> Iterator[Alert]:
    """Silos with rows on days that nobody declared (``undeclared``): no build reads them before somebody does."""
    found = undeclared.rows(settings, connection, list(silos()), ROLE)
    for silo in silos().values():
        if rows := found[silo.name]:
            yield Alert(
                kind="undeclared",
                key=silo.name,
                subject=f"rows of {silo.name} on {len(rows):,} days that nobody declared",
                silo_or_mart=silo.name,
                owner=silo.steward,
                sentence=undeclared.sentence(silo.name, rows),
            )


def rows_by_day(settings: Settings, silo: Silo, newest: date) -> dict[date, int]:
    """Rows by event day of the weeks up to ``newest`` that matter, over the silo's tables; empty days are absent."""
    first = newest - timedelta(weeks=2 * silo.expectations.weeks + 1, days=WINDOW_DAYS)
    datasets = [dataset.name for dataset in silo.datasets if not dataset.reference]
    return catalog.rows_by_day(catalog.open_catalog(settings, ROLE), datasets, first, newest)


def meaning(silo: Silo, rule: str) -> str:
    """What a rule means and what to do about it, as the register says."""
    known = {**ENGINE_RULES, **silo.rules}
    return known.get(rule, "The record is not written as its format says. Correct it and deliver the row again.")


def first_row(delivery: DeliveryRow) -> int:
    """The number, in a spreadsheet, of the first record of ``delivery``: a header is row 1."""
    try:
        return silos()[delivery.silo].format(str(delivery.format)).first_row
    except KeyError:  # a format that is no more
        return 2


def _newest_days(connection: psycopg.Connection, today: date) -> dict[str, date]:
    """By silo, the newest event day that was ever committed, registers and days to come aside."""
    rows = connection.execute(
        """
        select silo, max(day) from registry.commit, unnest(days) as day where day > %s and day <= %s group by silo
        """,
        [REFERENCE_DAY, today],
    )
    return dict(rows.fetchall())


def _arrived(settings: Settings, connection: psycopg.Connection) -> Iterator[tuple[Silo, dict[date, int], Arrival]]:
    """Each silo with its rows by event day, and how fresh that makes it."""
    now, kept = clock.now(settings), calendar(settings)
    newest = _newest_days(connection, now.date())
    for name, silo in silos().items():
        rows = rows_by_day(settings, silo, newest[name]) if name in newest else {}
        yield silo, rows, _arrival(silo, rows, kept, now)


def _arrival(silo: Silo, rows: Mapping[date, int], kept: Calendar, now: datetime) -> Arrival:
    newest = expectations.newest_day(rows, now.date())
    if newest is None:
        return Arrival(silo.name, None, None, None)
    overdue = expectations.overdue_day(newest, silo.freshness, silo.expectations, kept, now)
    due = expectations.due(newest + timedelta(days=1), silo.freshness, silo.expectations, kept)
    return Arrival(silo.name, newest, overdue, due)


def _too_old(silo: Silo, arrival: Arrival) -> Alert:
    return Alert(
        kind="freshness",
        key=silo.name,
        subject=f"nothing new from {silo.name} since {arrival.newest}",
        silo_or_mart=silo.name,
        owner=silo.steward,
        sentence=(
            f"The newest day of {silo.title} is {arrival.newest}. {arrival.overdue} was to be there by "
            f"{arrival.due:%Y-%m-%d %H:%M} UTC."
        ),
        details={"newest_day": str(arrival.newest), "overdue_day": str(arrival.overdue)},
    )


def _odd_day(silo: Silo, day: date, rows: int, usual: expectations.Usual) -> Alert:
    few = rows < usual.least
    return Alert(
        kind="volume",
        key=f"{silo.name}/{day}",
        subject=f"{'few' if few else 'many'} rows of {silo.name} on {day}",
        silo_or_mart=silo.name,
        owner=silo.steward,
        sentence=(
            f"{silo.title} has {rows:,} rows of {day:%A} {day}; {usual.days} comparable days have {usual.median:,.0f} "
            f"in the middle, and {usual.least:,.0f} to {usual.most:,.0f} would be usual."
        ),
        details={"day": str(day), "rows": rows, "median": round(usual.median)},
    )


def _unread(silo: Silo, delivery: DeliveryRow) -> Alert:
    parked = delivery.status == "parked"
    became = "is parked: it is not tried again by itself" if parked else "was refused: nothing of it was loaded"
    return Alert(
        kind="delivery-parked" if parked else "delivery-refused",
        key=f"{silo.name}/{delivery.delivery_id[:12]}",
        subject=f"{delivery.file_name} of {silo.name} {'is parked' if parked else 'was refused'}",
        silo_or_mart=silo.name,
        owner=silo.steward,
        sentence=f"{delivery.file_name} (delivery {delivery.delivery_id[:12]}) of {silo.title} {became}. "
        f"{delivery.reason or ''}".strip(),
        details={"delivery": delivery.delivery_id, "file": delivery.file_name, "landed": f"{delivery.landed_at:%F %R}"},
    )


def _settled(connection: psycopg.Connection, silo: str) -> list[DeliveryRow]:
    """What became of a silo's newest deliveries, in order of landing: enough to compare those of the window with."""
    with connection.cursor(row_factory=class_row(DeliveryRow)) as cursor:
        found = cursor.execute(
            "select * from registry.delivery where silo = %s and status != 'landed' order by seq desc limit 500", [silo]
        ).fetchall()
    return found[::-1]


def _excess(
    delivery: DeliveryRow, before: Sequence[DeliveryRow], silo: Silo
) -> Iterator[tuple[tuple[_Spike, str], float]]:
    """Kind and rule of what is unusual in a delivery, and the share that was usual.

    Quarantined rows are judged together, and told under the rule that grew most; warnings each by their own past.
    """
    expected = silo.expectations
    history = [(other.quarantined, other.rows_in) for other in before]
    usual = expectations.unusual_share(delivery.quarantined, delivery.rows_in, history, expected)
    if usual is not None:
        past = sum((Counter(other.by_rule) for other in before), Counter[str]())
        rows_before = sum(other.rows_in for other in before) or 1
        grown = {rule: count / delivery.rows_in - past[rule] / rows_before for rule, count in delivery.by_rule.items()}
        yield ("quarantine-spike", max(sorted(grown), key=lambda rule: grown[rule])), usual
    for rule, count in delivery.warnings.items():
        history = [(other.warnings.get(rule, 0), other.accepted) for other in before]
        usual = expectations.unusual_share(count, delivery.accepted, history, expected, first_ones=False)
        if usual is not None:
            yield ("contract-warning", rule), usual


def _spike(
    settings: Settings,
    silo: Silo,
    kind: _Spike,
    rule: str,
    found: list[tuple[DeliveryRow, float]],
) -> Alert:
    delivery, usual = found[-1]
    quarantined = kind == "quarantine-spike"
    rows, of = (delivery.quarantined, delivery.rows_in) if quarantined else (delivery.warnings[rule], delivery.accepted)
    became = "are quarantined" if quarantined else f"are accepted with the warning {rule}"
    by_rule = delivery.by_rule if quarantined else {rule: rows}
    numbers = quarantine.row_numbers(
        settings, silo.name, delivery.delivery_id, list(by_rule), _ROWS_TOLD, first_row=first_row(delivery)
    )
    return Alert(
        kind=kind,
        key=f"{silo.name}/{rule}",
        subject=f"{rows / of:.1%} of {delivery.file_name} of {silo.name}: {rule}",
        silo_or_mart=silo.name,
        owner=silo.steward,
        sentence=(
            f"Of {of:,} rows of {delivery.file_name} (delivery {delivery.delivery_id[:12]}) {rows:,} {became}: "
            f"{rows / of:.1%}, where {f'{usual:.1%}' if usual else 'next to nothing'} was usual."
        ),
        details={
            "delivery": delivery.delivery_id,
            "file": delivery.file_name,
            "deliveries_like_this": len(found),
            "to_see_them": f"calanque quarantine show {silo.name} {delivery.delivery_id[:12]}",
        },
        rules=tuple(
            BrokenRule(name, meaning(silo, name), count, numbers.get(name, ()))
            for name, count in sorted(by_rule.items(), key=lambda item: -item[1])
        ),
    )
