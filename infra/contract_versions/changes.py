"""What changed between two versions of a contract, and how much that is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from infra.contract_versions.document import Column, Document, Layout, Side
from infra.contract_versions.numbers import Level, next_version, raised


class Change(NamedTuple):
    """One difference between two versions."""

    level: Level
    sentence: str


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
