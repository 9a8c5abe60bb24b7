"""Whoever guesses passwords has to wait."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
from fastapi import HTTPException

from calanque.orchestration.login import PatientFabAuthManager
from infra.machines.airflow.access import ACCOUNTS


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> PatientFabAuthManager:
    """Every account has the same password."""

    def create_token(_self: object, _headers: object, body: dict[str, Any]) -> str | None:
        return str(body["username"]) if body["password"] == "right" else None

    monkeypatch.setattr(FabAuthManager, "create_token", create_token)
    return PatientFabAuthManager()


def ask(manager: PatientFabAuthManager, name: str, password: str) -> str | None:
    return manager.create_token({}, {"username": name, "password": password})  # type: ignore[no-any-return]


def test_after_five_wrong_passwords_an_account_waits(manager: PatientFabAuthManager) -> None:
    guessed, other = uuid.uuid4().hex, uuid.uuid4().hex
    assert [ask(manager, guessed, "wrong") for _ in range(5)] == [None] * 5
    for password in ("wrong", "right"):
        with pytest.raises(HTTPException) as refused:
            ask(manager, guessed, password)
        assert refused.value.status_code == 429
    assert ask(manager, other, "right") == other


def test_right_passwords_do_not_count(manager: PatientFabAuthManager) -> None:
    name = uuid.uuid4().hex
    assert {ask(manager, name, "right") for _ in range(20)} == {name}


def test_nobody_shuts_the_lake_out(manager: PatientFabAuthManager) -> None:
    for name in ACCOUNTS:
        for _ in range(20):
            ask(manager, name, "wrong")
        assert ask(manager, name, "right") == name
