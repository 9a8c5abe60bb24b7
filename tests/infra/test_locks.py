"""Who waits for a lock of the lake says for whom, and not for ever."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import closing

import pytest

from infra import database, locks, registry
from infra.locks import LockedError
from infra.settings import Settings
from infra.transient import explained, transient

pytestmark = pytest.mark.live


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who tells at once, and whose patience is short."""
    monkeypatch.setattr(locks, "_TELL_SECONDS", 1)
    monkeypatch.setattr(locks, "_LONGEST_SECONDS", 2)


@pytest.mark.parametrize("autocommit", [False, True])
def test_who_waits_says_for_which_command_and_gives_up(
    lake: Settings,
    hasty: None,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    autocommit: bool,
) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/calanque", "erase"])
    with (
        closing(database.connect(lake, "pipeline", "lake")) as one,
        closing(database.connect(lake, "retention", "lake", autocommit=autocommit)) as other,
        registry.locked(one, "table fines"),
        caplog.at_level(logging.WARNING, "infra.locks"),
        pytest.raises(LockedError) as caught,
        registry.locked(other, "table fines"),
    ):
        pass
    holder = f"calanque erase (process {os.getpid()})"
    assert str(caught.value).startswith(f"{holder} has held the lock 'table fines'")
    assert any(f"waiting for {holder}" in line for line in caplog.messages)
    assert explained(caught.value) == str(caught.value)
    assert transient(caught.value)


def test_a_lock_that_is_given_back_goes_to_who_waits(lake: Settings, hasty: None) -> None:
    order: list[str] = []

    def second() -> None:
        with closing(database.connect(lake, "pipeline", "lake")) as connection, registry.locked(connection, "build"):
            order.append("second")

    with closing(database.connect(lake, "pipeline", "lake")) as connection:
        with registry.locked(connection, "build"):
            waiter = threading.Thread(target=second)
            waiter.start()
            waiter.join(1.5)  # it has told once, and still waits
            order.append("first")
        waiter.join(10)
    assert order == ["first", "second"]


def test_a_dag_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "land_tows_" + "x" * 80)
    assert locks.this_process().startswith("DAG land_tows_x")
    assert len(locks.this_process()) <= 63
