"""Corrections: a published unit is published once more, for a reason, by the next build; offered with their price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

import psycopg

from infra import catalog, database, object_store, registry
from infra.build_spec import Unit
from infra.calendar import trusted_clock
from infra.settings import Settings
from privacy import ledger
from privacy.plan import CURRENCY, plan
from privacy.signed_copies import Copies
from privacy.spending import Book, Published, RefusedError, correction_line, exact, months, period
from publication import settling

ROLE = "publisher"


@dataclass(frozen=True)
class Price:
    """What a correction takes of a month of a budget: of ``limit``, ``left`` for corrections before it, ``spends``."""

    budget: str
    unit: str
    month: str
    limit: Fraction
    left: Fraction
    spends: Fraction


@dataclass(frozen=True)
class Offer:
    """What a correction would do: the marts that are published again with what each spends, and what that leaves.

    ``changed``: whether rows of these days changed since they were published. It is worked out from exact rows, so it
    is for the steward and the publisher only.
    """

    mart: str
    first_day: date
    last_day: date
    shares: Mapping[str, Fraction]
    prices: tuple[Price, ...]
    changed: bool

    def text(self) -> str:
        """The offer in Markdown, for everybody who may be asked."""
        what = f"**{self.mart} of {period(self.first_day, self.last_day)}** is to be published once more, from what the"
        lines = [
            f"{what} lake holds, with noise of its own. Possible once. Whoever has the first edition keeps it.",
            "",
            f"| published again | spends once more ({CURRENCY}) |",
            "|---|---|",
            *(f"| {mart} | {exact(share)} |" for mart, share in self.shares.items()),
            "",
            f"| budget ({CURRENCY}) | month | limit of corrections | left | this spends | left then |",
            "|---|---|---|---|---|---|",
        ]
        for each in self.prices:
            amounts = (each.limit, each.left, each.spends, each.left - each.spends)
            lines.append(f"| {each.budget}, per {each.unit} | {each.month} | {' | '.join(map(exact, amounts))} |")
        return "\n".join(lines)

    def warning(self) -> str | None:
        """What somebody who may know it should know before saying yes; None: nothing."""
        if self.changed:
            return None
        return (
            f"Nothing changed: since {self.mart} of {period(self.first_day, self.last_day)} was published, no delivery "
            "changed a row of its days, and nobody declared one that was missing. The correction would publish the "
            "same counts under other noise, and spend what the table says for nothing."
        )


def offer(settings: Settings, mart: str, first_day: date) -> Offer:
    """What the correction of a published unit would do.

    Raises:
        privacy.spending.RefusedError: the unit was never published, was corrected, its noise cannot be drawn, or the
            budget does not allow it.
    """
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        return _offer(settings, connection, Book(ledger.lines(connection)), mart, first_day)


def correct(settings: Settings, mart: str, first_day: date, reason: str) -> list[str]:
    """Ask for the second edition of a published unit; the marts that will be corrected.

    Marts of one silo and period are made to agree, so they are corrected together: those that were published for the
    same days, were not corrected yet and are not withdrawn.

    Raises:
        privacy.spending.RefusedError: as :func:`offer`; or no reason is given.
        privacy.ledger.LedgerBrokenError: the ledger is broken, or the clock went back.
    """
    copies = Copies(settings, object_store.client(settings, ROLE))
    with database.connect(settings, ROLE, catalog.DATABASE, autocommit=True) as connection:
        with ledger.locked(connection) as chain:
            copies.check_head(chain)
            book = Book(chain)
            together = _offer(settings, connection, book, mart, first_day).shares
            others = [other for other in together if other != mart]
            lines = [correction_line(book, each, first_day, reason) for each in (mart, *others)]
            chain.extend(ledger.append(connection, chain[-1], trusted_clock.now(settings, ROLE), lines))
        copies.catch_up(chain)
    return sorted(together)


def _offer(settings: Settings, connection: psycopg.Connection, book: Book, mart: str, first_day: date) -> Offer:
    published = book.correctable(mart, first_day)
    last_day = published.last_day
    unit = Unit(mart=mart, first_day=first_day, last_day=last_day)
    if settling.month(unit) in settling.destroyed_months(settings):
        raise RefusedError(
            f"{mart} of {period(first_day, last_day)}: the key of its noise was destroyed when its time was over: what "
            "was published stays as it is"
        )
    silos = {name: row.manifest["silo"] for name, row in registry.newest_releases(connection).items()}
    together = [
        each
        for each in book.published()
        if (each.first_day, each.last_day) == (first_day, last_day)
        and silos.get(each.mart) == silos.get(mart)
        and each.mart != mart
        and book.may_be_corrected(each.mart, first_day)
    ]
    names = sorted([mart, *(each.mart for each in together)])
    return Offer(
        mart=mart,
        first_day=first_day,
        last_day=last_day,
        shares={name: plan().marts[name].spends for name in names if name in plan().marts},
        prices=tuple(_prices(book, names, unit)),
        changed=_changed(connection, silos[mart], published),
    )


def _prices(book: Book, marts: Sequence[str], unit: Unit) -> Iterator[Price]:
    """What these marts together take of each month of their budgets.

    Raises:
        RefusedError: more than there is.
    """
    shares = {name: plan().marts[name] for name in marts if name in plan().marts}
    for budget in sorted({share.budget for share in shares.values()}):
        declared = plan().budgets[budget]
        spends = sum((share.spends for share in shares.values() if share.budget == budget), Fraction(0))
        for month in months(unit.first_day, unit.last_day):
            left = declared.limit - book.committed_to_corrections(plan(), budget, month)
            if spends > left:
                raise RefusedError(
                    f"{unit.mart} of {period(unit.first_day, unit.last_day)}: its correction would overdraw budget "
                    f"{budget}: of {CURRENCY} {exact(declared.limit)} per {declared.unit}, {exact(left)} is left for "
                    f"corrections in {month}, and this needs {exact(spends)} ({', '.join(marts)})"
                )
            yield Price(budget, declared.unit, month, declared.limit, left, spends)


def _changed(connection: psycopg.Connection, silo: str, published: Published) -> bool:
    """Whether rows of a unit's days were committed, or days of it declared, since it was published."""
    released = registry.release(connection, published.mart, published.release)
    days = registry.changed_days(connection, silo, released.commit_seq if released else 0)
    covered = registry.covered_days(connection, [silo])[silo]
    unit = (published.mart, published.first_day)
    missing = {day for row in registry.units(connection) if (row.mart, row.first_day) == unit for day in row.missing}
    return bool(missing & covered) or any(published.first_day <= day <= published.last_day for day in days)
