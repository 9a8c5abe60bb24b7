"""Asking for a correction: a published unit is published once more, for a reason, by the next build."""

from __future__ import annotations

from datetime import date

from infra import catalog, database, ledger, object_store, registry, trusted_clock
from infra.build_spec import Unit
from infra.settings import Settings
from infra.signed_copies import Copies
from publication import settling
from publication.ledger import Book, RefusedError, correction_line, period

ROLE = "publisher"


def correct(settings: Settings, mart: str, first_day: date, reason: str) -> list[str]:
    """Ask for the second edition of a published unit; the marts that will be corrected.

    Marts of one silo and period are made to agree, so they are corrected together: those that were published for the
    same days, were not corrected yet and are not withdrawn.

    Raises:
        publication.ledger.RefusedError: the unit was never published, was corrected, or its noise cannot be drawn.
        infra.ledger.LedgerBrokenError: the ledger is broken, or the clock went back.
    """
    destroyed = settling.destroyed_months(settings)
    copies = Copies(settings, object_store.client(settings, ROLE))
    with database.connect(settings, ROLE, catalog.DATABASE, autocommit=True) as connection:
        silos = {name: row.manifest["silo"] for name, row in registry.newest_releases(connection).items()}
        with ledger.locked(connection) as chain:
            copies.check_head(chain)
            book = Book(chain)
            lines = [correction_line(book, mart, first_day, reason)]
            _, line = lines[0]
            unit = Unit(mart=mart, first_day=first_day, last_day=date.fromisoformat(line["last_day"]))
            if settling.month(unit) in destroyed:
                raise RefusedError(
                    f"{mart} of {period(unit.first_day, unit.last_day)}: the key of its noise was destroyed when its "
                    "time was over: what was published stays as it is"
                )
            others = [
                each.mart
                for each in book.published()
                if (each.first_day, each.last_day) == (unit.first_day, unit.last_day)
                and each.mart != mart
                and silos.get(each.mart) == silos.get(mart)
                and book.may_be_corrected(each.mart, each.first_day)
            ]
            lines += [correction_line(book, other, first_day, reason) for other in others]
            chain.extend(ledger.append(connection, chain[-1], trusted_clock.now(settings, ROLE), lines))
        copies.catch_up(chain)
    return sorted([mart, *others])
