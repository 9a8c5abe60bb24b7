"""Who may do what in Airflow, and how much of it runs at once: what ``calanque up`` puts in place."""

from __future__ import annotations

import os
from typing import NamedTuple

SECRET = "airflow-"  # noqa: S105 - the secret `airflow-<account>` holds the password of an account
APPROVALS = ("change_contract", "correct_release", "declare_cover", "publish_as_it_is")
"""The DAGs whose tasks wait for a steward's answer."""


class Account(NamedTuple):
    """A generated login. People of a city get their own, with one of these roles (decision 15)."""

    role: str
    may: str


class Pool(NamedTuple):
    """How many tasks of a kind run side by side."""

    slots: int
    meaning: str


ACCOUNTS = {
    "admin": Account("Admin", "everything; the command line logs in as this one"),
    "operator": Account("Operator", "start, stop, repeat and backfill runs"),
    "steward": Account("Steward", "look, and answer what waits for a steward"),
    "viewer": Account("Viewer", "look"),
}

POOLS = {
    "ingest": Pool(max(2, os.cpu_count() or 2), "Landing and ingestion: a core and 1 GB each."),
    "marts": Pool(1, "Builds, releases and comparisons: one at a time, each takes what the machine has."),
}
