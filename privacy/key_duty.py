"""Destroying keys when their time is over, and the proof that it was done.

The proof is one receipt per key, ``receipts/keys/<silo>/<YYYY-MM>.json``. It is written from what the key store says
after the destruction, never from what was asked; a destroyed key without a receipt (the process was killed between the
two) gets it at the next occasion.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from minio import Minio

from infra import object_store
from infra.calendar import clock, trusted_clock
from infra.keys.store import due_day, is_due, open_keys
from infra.settings import Settings

ROLE = "retention"
BUCKET = "receipts"
PREFIX = "keys/"


class KeySurvivedError(RuntimeError):
    """The key store still has a key that it was told to destroy."""


@dataclass(frozen=True)
class KeyLine:
    """One key: whether it lives, and when it is due to be destroyed."""

    silo: str
    month: str
    state: str  # alive, destroyed, or interrupted (destroyed by half: it is used by nobody, and bytes are left)
    due: date
    overdue: bool


@dataclass(frozen=True)
class KeyReceipt:
    """A key that is gone, as its receipt says it."""

    silo: str
    month: str
    key: str


def keys(settings: Settings) -> list[KeyLine]:
    """Every key of this lake, in order of silo and month."""
    now = clock.now(settings)
    return [
        KeyLine(
            state.silo,
            state.month,
            "alive" if state.alive else "destroyed" if state.destroyed else "interrupted",
            due_day(state.silo, state.month),
            is_due(state, now),
        )
        for state in open_keys(settings).states()
    ]


def destroy_due(settings: Settings, *, run: str) -> list[KeyReceipt]:
    """Destroy every key whose day has come, and write the receipts that are missing. Again is harmless.

    A key that its store keeps all the same gets no receipt, and stays overdue in :func:`keys`.

    Args:
        settings: of the lake.
        run: what the receipts say of who did it, such as the id of an Airflow run.

    Raises:
        infra.calendar.trusted_clock.ClockDoubtedError: the clock is not believed; nothing was destroyed.
    """
    now = trusted_clock.now(settings, ROLE)
    store = open_keys(settings)
    for state in store.states():
        if is_due(state, now):
            store.destroy(state.silo, state.month)
    return _receipts(settings, run, reason="due")


def destroy(settings: Settings, silo: str, month: str, *, run: str, reason: str) -> KeyReceipt:
    """Destroy one key before its day, for ``reason`` (a word that the receipt repeats, such as ``leaked``).

    Raises:
        KeySurvivedError: the key store still has it.
        ValueError: no such silo or month.
    """
    store = open_keys(settings)
    store.destroy(silo, month)
    if not any(state.destroyed for state in store.states() if (state.silo, state.month) == (silo, month)):
        raise KeySurvivedError(
            f"the key of {silo} for {month} was to be destroyed and is still there: look at the key store "
            f"({settings.keys_backend})"
        )
    _receipts(settings, run, reason=reason, only=(silo, month))
    return KeyReceipt(silo, month, _key(silo, month))


def _receipts(settings: Settings, run: str, *, reason: str, only: tuple[str, str] | None = None) -> list[KeyReceipt]:
    """Write the missing receipts of destroyed keys; of one key only when given."""
    store: Minio = object_store.client(settings, ROLE)
    written = set(object_store.list_keys(store, BUCKET, PREFIX))
    receipts = []
    for state in open_keys(settings).states():
        if only is not None and (state.silo, state.month) != only:
            continue
        key = _key(state.silo, state.month)
        if not state.destroyed or key in written:
            continue
        proof = {
            "silo": state.silo,
            "month": state.month,
            "reason": reason,
            "due": due_day(state.silo, state.month).isoformat(),
            "seen_destroyed_at": clock.now(settings).isoformat(),
            "run": run,
            "backend": settings.keys_backend,
            "tombstone": state.tombstone,
            "key_present": state.present,
        }
        object_store.put_json(store, BUCKET, key, proof)
        receipts.append(KeyReceipt(state.silo, state.month, key))
    return receipts


def _key(silo: str, month: str) -> str:
    return f"{PREFIX}{silo}/{month}.json"
