"""Airflow's way in, with a pause after wrong passwords: what asks for a token is held to what the login form is.

The form of the web interface counts by address, five passwords in forty seconds (FAB's own limit); the address for
programs, ``/auth/token``, has no limit of its own.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
from fastapi import HTTPException, status
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from infra.machines.airflow.access import ACCOUNTS

_WRONG = parse("5 per 40 seconds")
_wrong = FixedWindowRateLimiter(MemoryStorage())  # of this process: there is one


class PatientFabAuthManager(FabAuthManager):
    """FAB's, which after five wrong passwords for an account does not look at the next for a while.

    Airflow asks whether the name of its class holds that of FAB's.
    """

    def create_token(self, headers: dict[str, str], body: dict[str, Any]) -> Any:
        """The user whose name and password these are, or None.

        The generated accounts never wait: nobody guesses their passwords, and nobody is to shut the lake itself out.
        """
        name = str(body.get("username"))
        if name in ACCOUNTS:
            return super().create_token(headers, body)
        if not _wrong.test(_WRONG, name):
            detail = "Too many wrong passwords for this account: wait a minute"
            raise HTTPException(status.HTTP_429_TOO_MANY_REQUESTS, detail)
        user = super().create_token(headers, body)
        if user is None:
            _wrong.hit(_WRONG, name)
        return user
