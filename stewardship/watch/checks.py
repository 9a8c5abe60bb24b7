"""What is looked at beside deliveries, one function per check: each yields the alerts that stand, and no other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Final

import psycopg

from infra import object_store
from infra.calendar import trusted_clock
from infra.settings import Settings
from stewardship.alerts import Alert

PLATFORM: Final = "data-platform"
PROTECTION: Final = "data-protection"

_GIGABYTE = 1024**3
LEAST_DISK = 2 * _GIGABYTE


def store(settings: Settings, _: psycopg.Connection) -> Iterator[Alert]:
    """The object store answers."""
    try:
        object_store.exists(object_store.client(settings, "pipeline"), "quarantine", "watch")
    except Exception as error:  # whatever it is, nothing can be read or written
        yield Alert(
            kind="store-down",
            key="object-store",
            subject="the object store does not answer",
            silo_or_mart=None,
            owner=PLATFORM,
            sentence=f"The object store of the lake does not answer as it should ({type(error).__name__}). "
            "Deliveries wait in the drop folder; what is published stays.",
        )


def disk(settings: Settings, _: psycopg.Connection) -> Iterator[Alert]:
    """There is room on the disk of the lake."""
    free = shutil.disk_usage(settings.home).free
    if free < LEAST_DISK:
        yield Alert(
            kind="disk-full",
            key="home",
            subject=f"{free / _GIGABYTE:.1f} GB are left on the disk of the lake",
            silo_or_mart=None,
            owner=PLATFORM,
            sentence=f"{free / _GIGABYTE:.1f} GB are left on the disk of the lake; under "
            f"{LEAST_DISK / _GIGABYTE:.0f} GB ingestion may stop at any time.",
        )


def clock(settings: Settings, _: psycopg.Connection) -> Iterator[Alert]:
    """The clock is believed; looking is also how a lake with nothing else to do remembers that it is at work."""
    try:
        trusted_clock.now(settings, "pipeline")
    except trusted_clock.ClockDoubtedError as why:
        yield Alert(
            kind="clock-doubted",
            key="lake",
            subject="the clock of the lake may be wrong",
            silo_or_mart=None,
            owner=PLATFORM,
            sentence=f"The lake does not believe its clock: {why}.",
        )


def restored(settings: Settings, _: psycopg.Connection) -> Iterator[Alert]:
    """No period waits because the lake before this one may have published it."""
    from publication.releases import restored

    for restoration in restored.waiting(settings)[-1:]:
        said = restored.sentence(restoration)
        yield Alert(
            kind="lake-restored",
            key="lake",
            subject="the lake was restored, and somebody has to say what it published before",
            silo_or_mart=None,
            owner=PROTECTION,
            sentence=f"{said[0].upper()}{said[1:]}.",
        )


def marts(settings: Settings, _: psycopg.Connection) -> Iterator[Alert]:
    """No mart is held back."""
    from publication import report

    for mart, because in report.held_back(settings).items():
        yield Alert(
            kind="mart-held",
            key=mart,
            subject=f"{mart} is held back",
            silo_or_mart=mart,
            owner=PLATFORM,
            sentence=f"The newest build of {mart} was not released, its last release stays: {because}",
        )


def waiting(settings: Settings, _: psycopg.Connection) -> Iterator[Alert]:
    """No period waits that is over and settled, but for the one in which a silo begins, which may wait for ever."""
    from ingestion.register import silos
    from publication import report

    for wait in report.waiting(settings):
        if not wait.is_beginning:
            yield Alert(
                kind="period-waits",
                key=f"{wait.silo}/{wait.first_day}/{wait.last_day}",
                subject=f"{wait.silo} of {wait.first_day} to {wait.last_day} is not published",
                silo_or_mart=wait.silo,
                owner=silos()[wait.silo].steward,
                sentence=wait.sentence,
            )


def retention(settings: Settings, _connection: psycopg.Connection) -> Iterator[Alert]:
    """Nothing is kept longer than it may be."""
    from stewardship.retention import job

    _oldest, overdue = job.check(settings)
    if overdue:
        yield Alert(
            kind="retention-overdue",
            key="lake",
            subject=f"{len(overdue)} things are past their limit",
            silo_or_mart=None,
            owner=PROTECTION,
            sentence="Data are kept longer than they may be: " + "; ".join(overdue),
        )


def ledger(settings: Settings, _: psycopg.Connection) -> Iterator[Alert]:
    """The ledger and everything published are what they were."""
    from publication.releases.verifying import verify

    breaks = verify(settings).breaks
    if breaks:
        yield Alert(
            kind="ledger-broken",
            key="lake",
            subject=f"{len(breaks)} breaks in the ledger or in what is published",
            silo_or_mart=None,
            owner=PROTECTION,
            sentence="The ledger and what is published do not agree, so nothing may be released: " + "; ".join(breaks),
        )
