"""Versions of contracts: what a contract promises, what changed between two versions of it, and how much that is.

A contract is a document: columns with their types, rules, key, accepted formats. Every version there ever was is
committed under ``docs/contracts``, so that a change without the version it needs fails the tests with a sentence, and a
steward can be shown what a version changes. Versions are semantic:

- **patch**: words. Descriptions.
- **minor**: more is accepted, or more is told: another format, an optional column.
- **major**: what senders deliver or readers rely on may stop working: a column removed, renamed or of another type, a
  rule more, a column that may now be empty in a table, or may no longer be in a delivery.

A lake puts a first version, a patch and a minor version in force by itself; a major one waits for its steward. What a
lake went by is compared as well, so that a change without its version is held where it would do harm: deliveries wait,
a mart keeps its last release.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Literal, NamedTuple

import psycopg
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, field_serializer, field_validator

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "contracts"

_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")

Kind = Literal["dataset", "mart"]


class Level(IntEnum):
    """How much a version differs from the one before; also the place of the number that goes up."""

    PATCH = 3
    MINOR = 2
    MAJOR = 1


class VersionError(ValueError):
    """A contract and its version do not go together; the message says what to do."""


class ContractHeldError(RuntimeError):
    """A major version of a contract that its steward has not approved: nothing is done by it until then."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Column(_Model):
    """A column as promised. ``classification`` says what it can tell about a person."""

    type: str
    nullable: bool
    classification: str
    description: str = ""


class Side(_Model):
    """The columns of a table in order, and its rules, each as "column: rule"."""

    columns: Mapping[str, Column]
    rules: tuple[str, ...] = ()

    @field_validator("columns", mode="before")
    @classmethod
    def _by_name(cls, given: object) -> object:
        if not isinstance(given, list):
            return given
        return {column["name"]: {name: value for name, value in column.items() if name != "name"} for column in given}

    @field_serializer("columns", when_used="json")
    def _in_order(self, columns: Mapping[str, Column]) -> list[dict[str, object]]:
        """As a list: PostgreSQL keeps the names of an object in an order of its own."""
        return [{"name": name, **column.model_dump()} for name, column in columns.items()]


class Layout(_Model):
    """One way to write a format."""

    delimiter: str
    header: bool
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


class Document(_Model):
    """A contract. ``delivered`` is what senders are held to, ``table`` what readers may rely on.

    ``facts`` are other things that readers rely on, by name.
    """

    kind: Kind
    name: str
    version: str
    description: str = ""
    key: tuple[str, ...]
    facts: Mapping[str, str] = {}
    formats: Mapping[str, tuple[Layout, ...]] = {}
    delivered: Side | None = None
    table: Side

    def text(self) -> str:
        """The document as it is committed."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


class Change(NamedTuple):
    """One difference between two versions."""

    level: Level
    sentence: str


# --- what changed ----------------------------------------------------------------------------------------------------


def changes(old: Document, new: Document) -> list[Change]:
    """Every difference from ``old`` to ``new`` beside the version itself, the greatest first."""
    found = [
        *_named(old, new),
        *_formats(old, new),
        *_delivered(old.delivered, new.delivered),
        *_table(old.table, new.table),
        *(_order(old.table, new.table) if new.kind == "mart" else ()),
    ]
    return sorted(found)


def needed(old: Document, new: Document) -> Level | None:
    """How much the version has to go up from ``old`` to ``new``; None when nothing changed."""
    return min((change.level for change in changes(old, new)), default=None)


def step(old: str, new: str) -> Level:
    """Which number goes up from version ``old`` to ``new``.

    Raises:
        VersionError: ``new`` is not a next version of ``old``.
    """
    before, after = parse(old), parse(new)
    for level in (Level.MAJOR, Level.MINOR, Level.PATCH):
        if after == _next(before, level):
            return level
    possible = ", ".join(".".join(map(str, _next(before, level))) for level in (Level.PATCH, Level.MINOR, Level.MAJOR))
    raise VersionError(f"{new} is no next version of {old}: the next is one of {possible}")


def raised(old: str, new: str) -> Level | None:
    """Which number goes up from ``old`` to ``new``, whatever versions lie between; None: none does, or it goes back."""
    for level, before, after in zip(sorted(Level), parse(old), parse(new), strict=True):
        if before != after:
            return level if after > before else None
    return None


def unannounced(known: Document, document: Document) -> str | None:
    """What ``document`` changes for senders or readers of ``known`` without the version that this needs; None: nothing.

    A sentence with what to do. Other words need no other version here: nobody is harmed by them.
    """
    wanted, taken = needed(known, document), raised(known.version, document.version)
    if wanted is None or wanted is Level.PATCH or (taken is not None and taken <= wanted):
        return None
    said = "; ".join(change.sentence for change in changes(known, document) if change.level <= wanted)
    what = f"the contract of {document.kind} {document.name}"
    return (
        f"{what} is version {document.version} where {known.version} was in force, but {said}: that needs at least "
        f"version {next_version(known.version, wanted)}. Declare it and run `calanque contract freeze`, or take the "
        "change back"
    )


def parse(version: str) -> tuple[int, int, int]:
    """The three numbers of a version.

    Raises:
        VersionError: it is not written as three numbers.
    """
    written = _VERSION.fullmatch(version)
    if written is None:
        raise VersionError(f"{version!r} is no version: write three numbers, such as 1.0.0")
    major, minor, patch = (int(number) for number in written.groups())
    return major, minor, patch


def next_version(version: str, level: Level) -> str:
    """The version after ``version`` whose number of ``level`` goes up."""
    return ".".join(map(str, _next(parse(version), level)))


def _next(numbers: tuple[int, int, int], level: Level) -> tuple[int, int, int]:
    major, minor, patch = numbers
    match level:
        case Level.MAJOR:
            return major + 1, 0, 0
        case Level.MINOR:
            return major, minor + 1, 0
        case Level.PATCH:
            return major, minor, patch + 1


def _named(old: Document, new: Document) -> Iterator[Change]:
    if old.description != new.description:
        yield Change(Level.PATCH, "the description is other words")
    if old.key != new.key:
        yield Change(Level.MAJOR, f"the key is {', '.join(new.key)} instead of {', '.join(old.key)}")
    for name in sorted(old.facts.keys() | new.facts.keys()):
        before, after = old.facts.get(name), new.facts.get(name)
        if before != after:
            yield Change(Level.MAJOR, f"{name} is {after or 'not told'} instead of {before or 'not told'}")


def _formats(old: Document, new: Document) -> Iterator[Change]:
    for name in sorted(old.formats.keys() | new.formats.keys()):
        before, after = old.formats.get(name, ()), new.formats.get(name, ())
        if not after:
            yield Change(Level.MAJOR, f"format {name} is no longer accepted")
        elif not before:
            yield Change(Level.MINOR, f"format {name} is accepted as well")
        elif before != after:
            lost = [layout for layout in before if not any(_takes(other, layout) for other in after)]
            if lost:
                columns = sorted({column for other in after for column in other.required} - set(lost[0].required))
                why = f" without {', '.join(columns)}" if columns else ""
                yield Change(Level.MAJOR, f"format {name}: what was accepted{why} is not any more")
            else:
                yield Change(Level.MINOR, f"format {name}: more is accepted than before")


def _takes(new: Layout, old: Layout) -> bool:
    """Whether whatever ``old`` accepts is accepted, and read, by ``new``."""
    written_alike = (new.delimiter, new.header) == (old.delimiter, old.header)
    if not new.header:  # columns are known by their place
        return written_alike and new.required == old.required
    read = set(new.required) | set(new.optional)
    return written_alike and set(new.required) <= set(old.required) and set(old.required) | set(old.optional) <= read


def _delivered(old: Side | None, new: Side | None) -> Iterator[Change]:
    if old is None or new is None:
        if old != new:
            yield Change(Level.MAJOR, "deliveries are held to a contract" if new else "deliveries are held to none")
        return
    for name, before, after in _pairs(old, new):
        if after is None:
            yield Change(Level.MAJOR, f"delivered column {name} is removed")
        elif before is None:
            level = Level.MINOR if after.nullable else Level.MAJOR
            yield Change(level, f"{'optional' if after.nullable else 'required'} delivered column {name} is added")
        else:
            yield from _column(f"delivered column {name}", before, after)
            if before.nullable != after.nullable:
                level = Level.MINOR if after.nullable else Level.MAJOR
                yield Change(level, f"delivered column {name} may {'' if after.nullable else 'not '}be empty")
    yield from (Change(Level.MAJOR, f"deliveries have to keep rule {rule}") for rule in _more(old, new))
    yield from (Change(Level.MINOR, f"deliveries need not keep rule {rule}") for rule in _more(new, old))


def _table(old: Side, new: Side) -> Iterator[Change]:
    for name, before, after in _pairs(old, new):
        if after is None:
            yield Change(Level.MAJOR, f"column {name} is removed")
        elif before is None:  # rows of before have nothing in it
            level = Level.MINOR if after.nullable else Level.MAJOR
            yield Change(level, f"{'optional' if after.nullable else 'required'} column {name} is added")
        else:
            yield from _column(f"column {name}", before, after)
            if before.nullable != after.nullable:
                yield Change(Level.MAJOR, f"column {name} may {'' if after.nullable else 'not '}be empty")
    yield from (Change(Level.MAJOR, f"rule {rule} holds") for rule in _more(old, new))
    yield from (Change(Level.MAJOR, f"rule {rule} holds no more") for rule in _more(new, old))


def _order(old: Side, new: Side) -> Iterator[Change]:
    """A mart is read by whatever reads tables, some of it by place; conformed tables are read by name."""
    kept = [name for name in new.columns if name in old.columns]
    if kept != [name for name in old.columns if name in new.columns]:
        yield Change(Level.MAJOR, "the columns stand in another order")


def _column(what: str, before: Column, after: Column) -> Iterator[Change]:
    if before.type != after.type:
        yield Change(Level.MAJOR, f"{what} is {after.type} instead of {before.type}")
    if before.classification != after.classification:
        yield Change(Level.MAJOR, f"{what} is {after.classification} instead of {before.classification}")
    if before.description != after.description:
        yield Change(Level.PATCH, f"{what} is described in other words")


def _pairs(old: Side, new: Side) -> Iterator[tuple[str, Column | None, Column | None]]:
    for name in dict.fromkeys((*old.columns, *new.columns)):
        yield name, old.columns.get(name), new.columns.get(name)


def _more(old: Side, new: Side) -> list[str]:
    return sorted(set(new.rules) - set(old.rules))


# --- what is committed -----------------------------------------------------------------------------------------------


def committed(kind: Kind, name: str, folder: Path = FOLDER) -> list[Document]:
    """Every committed version of a contract, oldest first.

    Raises:
        VersionError: a file is not the document that its name says.
    """
    found = []
    for path in (folder / f"{kind}s" / name).glob("*.json"):
        document = Document.model_validate_json(path.read_text("utf-8"))
        if (document.kind, document.name, document.version) != (kind, name, path.stem):
            raise VersionError(f"{path.name} of {kind} {name} is not what its name says: restore it")
        found.append(document)
    return sorted(found, key=lambda document: parse(document.version))


def problems(document: Document, folder: Path = FOLDER) -> list[str]:
    """Why ``document``, as the code has it now, and the committed versions do not go together, in sentences."""
    history = committed(document.kind, document.name, folder)
    what = f"{document.kind} {document.name}"
    found = []
    for old, new in itertools.pairwise(history):
        found += _too_small(what, old, new)
    if not history or document.version not in {known.version for known in history}:
        if history:
            found += _too_small(what, history[-1], document)
        if not found:
            found.append(f"{what} {document.version} is not committed: run `calanque contract freeze`")
    elif document.version != history[-1].version:
        found.append(f"{what} is {document.version}, but {history[-1].version} is committed: a version never goes back")
    elif document != history[-1]:
        level = needed(history[-1], document) or Level.PATCH
        said = "; ".join(change.sentence for change in changes(history[-1], document)) or "it is written otherwise"
        found.append(
            f"{what} changed but is still {document.version}: {said}. That needs at least version "
            f"{next_version(document.version, level)}: set it where the contract is declared, then run "
            "`calanque contract freeze`"
        )
    return found


def freeze(document: Document, folder: Path = FOLDER) -> Path | None:
    """Write a new version of a contract; its file, or None when it is there already.

    Raises:
        VersionError: the version is not the one that its changes need.
    """
    history = committed(document.kind, document.name, folder)
    if document in history[-1:]:
        return None
    target = folder / f"{document.kind}s" / document.name / f"{document.version}.json"
    wrong = [problem for problem in problems(document, folder) if not problem.endswith("`calanque contract freeze`")]
    if target.exists() or wrong:
        raise VersionError("; ".join(problems(document, folder)))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(document.text(), "utf-8")
    return target


def _too_small(what: str, old: Document, new: Document) -> list[str]:
    try:
        taken = step(old.version, new.version)
    except VersionError as wrong:
        return [f"{what}: {wrong}"]
    wanted = needed(old, new)
    if wanted is None or taken <= wanted:
        return []
    said = "; ".join(change.sentence for change in changes(old, new) if change.level < taken)
    taken_for = f"{what} {new.version} is a {taken.name.lower()} version of {old.version}"
    return [f"{taken_for}, but {said}: that needs {next_version(old.version, wanted)}"]


# --- what is in force ------------------------------------------------------------------------------------------------


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
