"""The version that a lake goes by, in its registry."""

from __future__ import annotations

from datetime import datetime

import psycopg
from psycopg.types.json import Jsonb

from infra.contract_versions.changes import unannounced
from infra.contract_versions.document import Document, Kind
from infra.contract_versions.numbers import parse


class ContractHeldError(RuntimeError):
    """A major version of a contract that its steward has not approved: nothing is done by it until then."""


def in_force(connection: psycopg.Connection, kind: Kind, name: str) -> Document | None:
    """The version of a contract that this lake goes by; None before its first."""
    row = connection.execute(
        "select document from registry.contract where kind = %s and name = %s order by since desc, seq desc limit 1",
        [kind, name],
    ).fetchone()
    return Document.model_validate(row[0]) if row else None


def admit(connection: psycopg.Connection, document: Document, now: datetime) -> None:
    """Go by ``document`` from now on, unless that needs an approval.

    Raises:
        ContractHeldError: its major version is not the one in force, or it changed without the version it needs.
    """
    known = in_force(connection, document.kind, document.name)
    if known is not None and parse(known.version)[0] != parse(document.version)[0]:
        raise ContractHeldError(
            f"version {document.version} of the contract of {document.kind} {document.name} is not approved, "
            f"{known.version} is in force: its steward has to approve it (`calanque contract approve {document.name} "
            "--reason ...`, or DAG change_contract in Airflow)"
        )
    if known is not None and (held := unannounced(known, document)):
        raise ContractHeldError(held)
    if known is None or known.version != document.version:
        put_in_force(connection, document, now, approval=None)


def put_in_force(connection: psycopg.Connection, document: Document, now: datetime, approval: str | None) -> None:
    """Record that the lake goes by ``document``; ``approval`` is the reference of who allowed it, if it needed that."""
    connection.execute(
        """
        insert into registry.contract (kind, name, version, document, since, approval) values (%s, %s, %s, %s, %s, %s)
        """,
        [document.kind, document.name, document.version, Jsonb(document.model_dump(mode="json")), now, approval],
    )
