"""One round: every check made, what stands raised, what is over resolved, what waits sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

import psycopg

from infra import database, registry
from infra.endpoints import NotRunning
from infra.secrets import SecretMissing
from infra.settings import Settings
from stewardship import alerts
from stewardship.alerts import Alert, Kind
from stewardship.watch import checks, delivery_checks
from stewardship.watch.readers import end_long_reads

_log = logging.getLogger(__name__)


class Check(NamedTuple):
    """A check and the kinds of alert that it alone raises and resolves. ``daily``: it takes minutes."""

    kinds: tuple[Kind, ...]
    look: Callable[[Settings, psycopg.Connection], Iterable[Alert]]
    daily: bool = False


DELIVERIES = Check(
    ("quarantine-spike", "contract-warning", "delivery-refused", "delivery-parked"), delivery_checks.of_deliveries
)
UNDECLARED = Check(("undeclared",), delivery_checks.of_undeclared)
CHECKS = (
    Check(("store-down",), checks.store),
    Check(("disk-full",), checks.disk),
    Check(("clock-doubted",), checks.clock),
    Check(("lake-restored",), checks.restored),
    Check(("freshness", "volume"), delivery_checks.of_days),
    DELIVERIES,
    UNDECLARED,
    Check(("period-waits",), checks.waiting),
    Check(("mart-held",), checks.marts),
    Check(("retention-overdue",), checks.retention, daily=True),
    Check(("ledger-broken",), checks.ledger, daily=True),
)


_OVER = "It is not so any more: it was mended, or it is history."


@dataclass(frozen=True)
class Round:
    """What one round found. ``failures`` are checks that could not be made: what they would say stays as it was."""

    begun: tuple[Alert, ...]
    over: tuple[tuple[str, str], ...]
    standing: tuple[alerts.Episode, ...]
    sent: alerts.Sent
    failures: tuple[str, ...]


def watch(settings: Settings, *, daily: bool = False) -> Round:
    """Look at everything, warn of what is new, say what is over; also send what could not be sent before.

    ``dag-failed`` is raised and resolved by whoever runs the DAGs. What readers of the database left running is ended.

    Args:
        settings: of the lake.
        daily: make the checks too that read everything that is kept.

    Raises:
        psycopg.Error, NotRunning: the registry cannot be reached: nothing can be known or noted.
    """
    with closing(database.connect(settings, "pipeline", "lake")) as connection:
        end_long_reads(connection)
    return _round(settings, [check for check in CHECKS if daily or not check.daily])


def after_ingestion(settings: Settings) -> None:
    """Look at deliveries at once, so that nobody waits for the next round to hear of a bad one. Fails nobody."""
    try:
        _round(settings, [DELIVERIES, UNDECLARED])
    except (psycopg.Error, NotRunning, SecretMissing) as error:
        _log.warning("deliveries could not be looked at: %s", type(error).__name__)


def _round(settings: Settings, made: Sequence[Check]) -> Round:
    begun: list[Alert] = []
    over: list[tuple[str, str]] = []
    failures: list[str] = []
    with closing(database.connect(settings, "pipeline", "lake")) as connection:
        for check in made:
            try:
                # One at a time: what another round sees a moment later must not be resolved by this one.
                with registry.locked(connection, f"watch {check.kinds[0]}"):
                    found = list(check.look(settings, connection))
                    new, gone = alerts.settle(settings, connection, check.kinds, found, _OVER)
            except Exception as error:  # one check that cannot be made stops no other
                connection.rollback()
                failures.append(f"{', '.join(check.kinds)}: not looked at: {type(error).__name__}")
                _log.exception("a check could not be made")
                continue
            begun += new
            over += gone
        sent = alerts.send_pending(settings)
        standing = alerts.standing(connection)
    return Round(tuple(begun), tuple(over), tuple(standing), sent, tuple(failures))
