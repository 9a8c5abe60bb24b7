"""Whether everything that was ever published is still what the ledger says, and the ledger what it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import psycopg
from minio import Minio

from infra import catalog, database, object_store, registry
from infra.settings import Settings
from privacy import ledger
from privacy.ledger import LedgerBrokenError, Line
from privacy.signed_copies import Copies
from privacy.spending import RELEASE, WITHDRAWAL, Book, exact, period
from publication.releases.manifest import BUCKET, Manifest, Part, part_key

ROLE = "publisher"
LOCK = "release"


@dataclass(frozen=True)
class Verification:
    """The lines of the ledger, what they add up to, and a sentence for each thing that is not as it should be."""

    lines: tuple[Line, ...]
    book: Book
    breaks: tuple[str, ...]


def verify(settings: Settings) -> Verification:
    """Check the chain, its signed copies, every published file, and the newest manifests against each other.

    Waits for a release that is going on.
    """
    store = object_store.client(settings, ROLE)
    with (
        database.connect(settings, ROLE, catalog.DATABASE, autocommit=True) as connection,
        registry.locked(connection, LOCK),
    ):
        chain = ledger.lines(connection)
        book = Book(chain)
        found = [
            *ledger.breaks(chain),
            *_copies(Copies(settings, store), chain),
            *_files(store, chain),
            *_manifests(connection, store, book),
            *_overdrafts(book),
        ]
    return Verification(tuple(chain), book, tuple(found))


def _copies(copies: Copies, chain: Sequence[Line]) -> Iterator[str]:
    try:
        yield from copies.breaks(chain)
    except LedgerBrokenError as reason:  # without the public key no copy can be checked
        yield str(reason)


def _files(store: Minio, chain: Sequence[Line]) -> Iterator[str]:
    """Every edition's file has the bytes that were published; those of withdrawn units are gone."""
    withdrawn = {
        (line.body["mart"], line.body["first_day"], sha256)
        for line in chain
        if line.kind == WITHDRAWAL
        for sha256 in line.body["sha256"]
    }
    for line in chain:
        if line.kind != RELEASE:
            continue
        body = line.body
        key = part_key(body["mart"], body["first_day"], body["sha256"])
        try:
            found = hashlib.sha256(object_store.get_bytes(store, BUCKET, key)).hexdigest()
        except KeyError:
            if (body["mart"], body["first_day"], body["sha256"]) not in withdrawn:
                yield f"release file {key} of line {line.seq} is missing: restore it from a copy of the lake"
            continue
        if (body["mart"], body["first_day"], body["sha256"]) in withdrawn:
            yield f"release file {key} is still there, though its unit was withdrawn: `calanque run` finishes that"
        elif found != body["sha256"]:
            yield (
                f"release file {key} was changed: it does not have the SHA-256 of line {line.seq}; restore it from a "
                "copy of the lake"
            )


def _manifests(connection: psycopg.Connection, store: Minio, book: Book) -> Iterator[str]:
    """The newest manifest of every mart holds what the ledger says is published, and was published itself."""
    parts: dict[tuple[str, str], Part] = {}
    for mart, row in registry.newest_releases(connection).items():
        manifest = Manifest.model_validate(row.manifest)
        parts.update({(mart, part.first_day.isoformat()): part for part in manifest.parts})
        try:
            if object_store.get_json(store, BUCKET, manifest.key) != manifest.document():
                yield f"manifest {manifest.key} was changed: it is not the one in the registry"
        except (KeyError, ValueError):
            yield f"manifest {manifest.key} is missing or unreadable: `calanque run` finishes an interrupted release"
    for published in book.published():
        where = f"{published.mart} of {period(published.first_day, published.last_day)}"
        part = parts.pop((published.mart, published.first_day.isoformat()), None)
        if part is None:
            yield f"{where} is in the ledger (line {published.seq}) but in no manifest"
        elif (part.edition, part.sha256, part.fingerprint) != (
            published.edition,
            published.sha256,
            published.fingerprint,
        ):
            yield f"{where} in its manifest is not what line {published.seq} of the ledger says"
    for (mart, _), part in parts.items():
        yield f"{mart} of {period(part.first_day, part.last_day)} is in its manifest but not in the ledger"


def _overdrafts(book: Book) -> Iterator[str]:
    for account in book.accounts():
        for what, spent in (("marts have", account.spent), ("corrections have", account.corrections)):
            if spent > account.limit:
                yield (
                    f"budget {account.budget} is overdrawn: {what} spent {exact(spent)} of {exact(account.limit)} in "
                    f"{account.month}"
                )


def by_year(book: Book) -> Mapping[tuple[str, str], tuple[Fraction, Fraction]]:
    """By budget and year, what first editions and corrections spent of its months together."""
    sums: dict[tuple[str, str], tuple[Fraction, Fraction]] = {}
    for account in book.accounts():
        spent, corrections = sums.get((account.budget, account.month[:4]), (Fraction(0), Fraction(0)))
        sums[account.budget, account.month[:4]] = (spent + account.spent, corrections + account.corrections)
    return sums
