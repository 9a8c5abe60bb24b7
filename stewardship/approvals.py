"""What waits for a steward: what is asked is shown, the answer is recorded, and what was approved is done.

Who asked, who answered, when and why is one line of ``registry.approval`` and a receipt, ``approvals/<day>-<id>.json``:
refusals as well. Asking happens in Airflow, whose roles say who may answer; what is done after it is done here, so that
it can be repeated: an answer is recorded once, and what was done is not done again.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Literal, TypeAlias

import psycopg
from psycopg.rows import class_row

from infra import catalog, contract_versions, database, object_store
from infra.calendar import clock
from infra.contract_versions import Document
from infra.settings import Settings
from privacy import ledger
from privacy.spending import Book, RefusedError
from stewardship import corrections

Kind: TypeAlias = Literal["correction", "contract", "cover", "publication"]

ROLE = "publisher"
BUCKET = "receipts"
PREFIX = "approvals/"


@dataclass(frozen=True)
class Approval:
    """A question and its answer. ``reference`` is unique: that of the Airflow run, or of the command."""

    reference: str
    kind: Kind
    subject: str
    reason: str
    asked_by: str | None
    asked_at: datetime
    approved: bool
    decided_by: str
    decided_at: datetime
    remark: str | None = None

    @property
    def receipt_key(self) -> str:
        digest = hashlib.sha256(self.reference.encode()).hexdigest()[:16]
        return f"{PREFIX}{self.decided_at.date()}-{digest}.json"

    def as_json(self) -> dict[str, Any]:
        """The approval as its receipt has it: instants in ISO 8601."""
        return {
            **asdict(self),
            "asked_at": self.asked_at.isoformat(),
            "decided_at": self.decided_at.isoformat(),
            "same_person": self.asked_by == self.decided_by,
        }


def record(settings: Settings, approval: Approval) -> Approval:
    """Record an answer, in the registry and as a receipt; the recorded one, which is the first of its reference."""
    fields = asdict(approval)
    with closing(database.connect(settings, ROLE, catalog.DATABASE)) as connection:
        connection.execute(
            f"""
            insert into registry.approval ({", ".join(fields)}) values ({", ".join(f"%({name})s" for name in fields)})
            on conflict (reference) do nothing
            """,
            fields,
        )
        connection.commit()
        recorded = _recorded(connection, approval.reference)
    object_store.put_json(object_store.client(settings, ROLE), BUCKET, recorded.receipt_key, recorded.as_json())
    return recorded


def approvals(connection: psycopg.Connection) -> list[Approval]:
    """Every answer, newest first."""
    columns = ", ".join(Approval.__dataclass_fields__)
    with connection.cursor(row_factory=class_row(Approval)) as cursor:
        return cursor.execute(f"select {columns} from registry.approval order by seq desc").fetchall()


def _recorded(connection: psycopg.Connection, reference: str) -> Approval:
    return next(approval for approval in approvals(connection) if approval.reference == reference)


# --- corrections -----------------------------------------------------------------------------------------------------


def propose_correction(settings: Settings, mart: str, first_day: date, reason: str) -> str:
    """What a correction would do, in Markdown, for whoever has to approve it. More eyes than the steward's see it, so
    it does not say whether anything changed (:meth:`stewardship.corrections.Offer.warning`).

    Raises:
        privacy.spending.RefusedError: it is not possible, so nobody need be asked.
    """
    return f"{corrections.offer(settings, mart, first_day).text()}\n\n*Reason given:* {reason}"


def carry_out_correction(settings: Settings, approval: Approval, mart: str, first_day: date) -> list[str]:
    """Record the answer and, when it is yes, ask for the correction; the marts that will be corrected.

    Repeated after a kill, it does what is left to do.

    Raises:
        privacy.spending.RefusedError: it is not possible any more.
    """
    recorded = record(settings, approval)
    if not recorded.approved:
        return []
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        history = Book(ledger.lines(connection)).unit(mart, first_day)
    if history is not None and history.correction == " ".join(recorded.reason.split()):
        return [mart]  # asked for by an earlier attempt at this very task
    return corrections.correct(settings, mart, first_day, recorded.reason)


# --- contracts -------------------------------------------------------------------------------------------------------


def propose_contract(settings: Settings, document: Document, reason: str) -> str:
    """What a version of a contract changes, in Markdown, for whoever has to approve it.

    Raises:
        privacy.spending.RefusedError: it is in force already, or needs no approval.
    """
    with database.connect(settings, ROLE, catalog.DATABASE) as connection:
        known = contract_versions.in_force(connection, document.kind, document.name)
    what = f"{document.kind} {document.name}"
    if known is None:
        raise RefusedError(f"no version of the contract of {what} is in force yet: the first needs no approval")
    if known.version == document.version:
        raise RefusedError(
            f"version {document.version} of the contract of {what} is in force: nothing is to be approved"
        )
    if contract_versions.parse(known.version)[0] == contract_versions.parse(document.version)[0]:
        raise RefusedError(
            f"version {document.version} of the contract of {what} needs no approval: {known.version} is of the same "
            "major version"
        )
    changes = "\n".join(
        f"- {change.level.name.lower()}: {change.sentence}" for change in contract_versions.changes(known, document)
    )
    return (
        f"**The contract of {what}: version {document.version} instead of {known.version}.** Until it is approved "
        f"deliveries wait, and nothing is lost.\n\n*Reason given:* {reason}\n\n{changes}"
    )


def subject_of(document: Document) -> str:
    """What the question of a version is called: the contract and its version."""
    return f"{document.name} {document.version}"


def carry_out_contract(settings: Settings, approval: Approval, document: Document) -> bool:
    """Record the answer and, when it is yes, put the version in force; whether it is.

    Raises:
        privacy.spending.RefusedError: ``document`` is not the version that was asked about.
    """
    recorded = record(settings, approval)
    if recorded.approved and recorded.subject != subject_of(document):
        raise RefusedError(f"{recorded.subject} was approved, and {subject_of(document)} is installed since: ask again")
    with closing(database.connect(settings, ROLE, catalog.DATABASE)) as connection:
        known = contract_versions.in_force(connection, document.kind, document.name)
        if recorded.approved and (known is None or known.version != document.version):
            contract_versions.put_in_force(connection, document, clock.now(settings), recorded.reference)
            connection.commit()
    return recorded.approved
