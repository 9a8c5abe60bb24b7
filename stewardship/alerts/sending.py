"""Raising, resolving and sending alerts.

Nothing here fails whoever warns: a warning that cannot be written down or sent is logged, and what is written down is
sent by the next run of ``calanque watch``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from contextlib import closing
from dataclasses import dataclass

import psycopg

from infra import database
from infra.calendar import clock
from infra.endpoints import NotRunning
from infra.secrets import SecretMissing
from infra.settings import Settings
from stewardship.alerts import book, channels
from stewardship.alerts.channels import Channel, ChannelError, RefusedError
from stewardship.alerts.messages import Notice
from stewardship.alerts.model import Alert

ROLE = "pipeline"
_UNREACHABLE = (psycopg.Error, NotRunning, SecretMissing, OSError)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sent:
    """How many notices were taken by their channels, and why others were not: they wait."""

    sent: int = 0
    failures: tuple[str, ...] = ()


def raise_alert(settings: Settings, alert: Alert) -> bool:
    """Warn of something. While it stands it is told once; after it was resolved it is told again.

    Returns:
        Whether it begins with this call. False too when it could not be written down, which is logged.
    """
    try:
        with closing(_connect(settings)) as connection:
            alert_id, begins = _raise(settings, connection, alert)
            connection.commit()
            if begins:
                _send(settings, connection, only=alert_id)
            return begins
    except _UNREACHABLE as error:
        _log.error("%s; this warning could not be written down: %s", alert.sentence, type(error).__name__)
        return False


def resolve_alert(settings: Settings, kind: str, key: str, because: str) -> bool:
    """Say that what was warned of is over, and why in a sentence.

    Returns:
        Whether it stood. False too when the registry could not be reached, which is logged.
    """
    try:
        with closing(_connect(settings)) as connection:
            alert_id = book.resolve(connection, kind, key, because, clock.now(settings))
            connection.commit()
            if alert_id is not None:
                _log.info("%s %s is over: %s", kind, key, because)
                _send(settings, connection, only=alert_id)
            return alert_id is not None
    except _UNREACHABLE as error:
        _log.error("%s %s is over, which could not be written down: %s", kind, key, type(error).__name__)
        return False


def settle(
    settings: Settings, connection: psycopg.Connection, kinds: Collection[str], alerts: Iterable[Alert], because: str
) -> tuple[list[Alert], list[tuple[str, str]]]:
    """Have exactly ``alerts`` stand, of these ``kinds``: raise them, and resolve the others for ``because``.

    Returns:
        The alerts that begin, and kind and key of those that are over. Sends nothing: see :func:`send_pending`.
    """
    now = clock.now(settings)
    wanted = {(alert.kind, alert.key): alert for alert in alerts}
    begun = [alert for alert in wanted.values() if _raise(settings, connection, alert)[1]]
    over = []
    for episode in book.standing(connection, kinds):
        if (episode.kind, episode.key) not in wanted:
            book.resolve(connection, episode.kind, episode.key, because, now)
            over.append((episode.kind, episode.key))
    connection.commit()
    return begun, over


def send_pending(settings: Settings) -> Sent:
    """Send what could not be sent before, and what was only written down; many messages become one e-mail.

    Raises:
        psycopg.Error: the registry cannot be reached.
    """
    with closing(_connect(settings)) as connection:
        return _send(settings, connection)


def _connect(settings: Settings) -> psycopg.Connection:
    return database.connect(settings, ROLE, "lake")


def _raise(settings: Settings, connection: psycopg.Connection, alert: Alert) -> tuple[int, bool]:
    runbook = alert.runbook or f"{settings.runbooks_url.rstrip('/')}/{alert.kind}.md"
    alert_id, begins = book.raise_(connection, alert, runbook, clock.now(settings))
    if begins:
        _log.warning("%s: %s (owner: %s; see %s)", alert.kind, alert.sentence, alert.owner, runbook)
    return alert_id, begins


def _send(settings: Settings, connection: psycopg.Connection, only: int | None = None) -> Sent:
    sent, failures = 0, []
    with channels.configured(settings) as ways:
        for way in ways:
            waiting = [
                notice
                for notice in book.unsent(connection, way.name, clock.now(settings))
                if only is None or notice[1].alert_id == only
            ]
            connection.commit()
            for message in way.messages(waiting):
                try:
                    sent += _send_message(settings, connection, way, message)
                except ChannelError as error:
                    failures.append(f"{way.name}: {error}")
                    _log.warning("%s: of %d notices some wait: %s", way.name, len(waiting), error)
                    if not isinstance(error, RefusedError):
                        break  # a channel that does not take one takes no other now
    return Sent(sent, tuple(failures))


def _send_message(settings: Settings, connection: psycopg.Connection, way: Channel, message: list[Notice]) -> int:
    mine = book.claim(connection, [(phase, episode.alert_id) for phase, episode in message], way.name)
    claimed = [(phase, episode) for phase, episode in message if (phase, episode.alert_id) in mine]
    if not claimed:
        connection.commit()
        return 0
    failure: ChannelError | None = None
    try:
        way.send(claimed)
    except ChannelError as error:
        failure = error
    for phase, episode in claimed:
        said = str(failure) if failure is not None else None
        book.note(connection, (phase, episode.alert_id), way.name, now=clock.now(settings), error=said)
    connection.commit()
    if failure is not None:
        raise failure
    return len(claimed)
