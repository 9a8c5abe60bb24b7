"""Versions of contracts: what a change needs, and that nothing changes without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.contract_versions import (
    Column,
    Document,
    Layout,
    Level,
    Side,
    VersionError,
    changes,
    committed,
    freeze,
    needed,
    next_version,
    parse,
    problems,
    step,
    unannounced,
)
from ingestion.contracts.silo_documents import of_register
from publication.releases.mart_documents import of_marts

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
COLUMNS = st.builds(
    Column,
    type=st.sampled_from(["String", "Int64", "Date"]),
    nullable=st.booleans(),
    classification=st.sampled_from(["public", "identifier"]),
    description=st.sampled_from(["", "One.", "Two."]),
)
SIDES = st.builds(
    Side,
    columns=st.dictionaries(NAMES, COLUMNS, min_size=1),
    rules=st.sets(st.sampled_from(["a: r", "b: r", "b: s"])).map(lambda rules: tuple(sorted(rules))),
)
LAYOUTS = st.builds(
    Layout,
    delimiter=st.sampled_from([",", ";"]),
    header=st.booleans(),
    required=st.lists(NAMES, unique=True, min_size=1).map(tuple),
    optional=st.lists(st.sampled_from(["x", "y"]), unique=True).map(tuple),
)
DOCUMENTS = st.builds(
    Document,
    kind=st.just("mart"),
    name=st.just("fines"),
    version=st.just("1.2.3"),
    description=st.sampled_from(["", "Fines."]),
    key=st.just(("a",)),
    formats=st.dictionaries(
        st.sampled_from(["one", "two"]), st.lists(LAYOUTS, min_size=1, max_size=2).map(tuple), max_size=2
    ),
    delivered=st.none() | SIDES,
    table=SIDES,
)

BASE = Document(
    kind="dataset",
    name="fines",
    version="1.2.3",
    key=("key",),
    facts={"belongs to": "a day"},
    formats={"csv": (Layout(delimiter=",", header=True, required=("id", "day"), optional=("plate",)),)},
    delivered=Side(
        columns={
            "id": Column(type="String", nullable=True, classification="identifier"),
            "day": Column(type="Date", nullable=False, classification="public"),
        },
        rules=("id: present",),
    ),
    table=Side(
        columns={
            "key": Column(type="Binary", nullable=False, classification="pseudonym"),
            "zone": Column(type="String", nullable=True, classification="public"),
        },
        rules=("zone: known",),
    ),
)


def side(document: Document, which: str, **columns: Column | None) -> Document:
    before: Side = getattr(document, which)
    after = {**before.columns, **columns}
    kept = {name: column for name, column in after.items() if column is not None}
    return document.model_copy(update={which: before.model_copy(update={"columns": kept})})


def ruled(document: Document, which: str, *rules: str) -> Document:
    return document.model_copy(update={which: getattr(document, which).model_copy(update={"rules": rules})})


def formats(**layouts: tuple[Layout, ...]) -> Document:
    return BASE.model_copy(update={"formats": {"csv": BASE.formats["csv"], **layouts}})


KEY = BASE.table.columns["key"]
TEXT = Column(type="String", nullable=True, classification="public")
CSV = BASE.formats["csv"][0]


@pytest.mark.parametrize(
    ("new", "level", "said"),
    [
        (BASE.model_copy(update={"description": "Fines."}), Level.PATCH, "other words"),
        (side(BASE, "table", zone=TEXT.model_copy(update={"description": "Zone."})), Level.PATCH, "described"),
        (formats(tsv=(CSV,)), Level.MINOR, "format tsv is accepted as well"),
        (formats(csv=(CSV, CSV.model_copy(update={"delimiter": ";"}))), Level.MINOR, "more is accepted"),
        (
            formats(csv=(CSV.model_copy(update={"required": ("id",), "optional": ("plate", "day")}),)),
            Level.MINOR,
            "more is accepted",
        ),
        (side(BASE, "table", nature=TEXT), Level.MINOR, "optional column nature is added"),
        (side(BASE, "delivered", plate=TEXT), Level.MINOR, "optional delivered column plate"),
        (ruled(BASE, "delivered"), Level.MINOR, "need not keep rule id: present"),
        (BASE.model_copy(update={"formats": {}}), Level.MAJOR, "format csv is no longer accepted"),
        (
            formats(csv=(CSV.model_copy(update={"required": ("id", "day", "hour")}),)),
            Level.MAJOR,
            "what was accepted without hour is not any more",
        ),
        (formats(csv=(CSV.model_copy(update={"optional": ()}),)), Level.MAJOR, "is not any more"),
        (side(BASE, "table", zone=None), Level.MAJOR, "column zone is removed"),
        (side(side(BASE, "table", zone=None), "table", area=TEXT), Level.MAJOR, "column zone is removed"),  # renamed
        (
            side(BASE, "table", zone=TEXT.model_copy(update={"type": "Int32"})),
            Level.MAJOR,
            "column zone is Int32 instead of String",
        ),
        (side(BASE, "table", key=KEY.model_copy(update={"nullable": True})), Level.MAJOR, "column key may be empty"),
        (side(BASE, "table", zone=TEXT.model_copy(update={"nullable": False})), Level.MAJOR, "zone may not be empty"),
        (
            side(BASE, "table", zone=TEXT.model_copy(update={"classification": "sensitive"})),
            Level.MAJOR,
            "sensitive instead of public",
        ),
        (ruled(BASE, "delivered", "id: present", "day: past"), Level.MAJOR, "have to keep rule day: past"),
        (ruled(BASE, "table"), Level.MAJOR, "rule zone: known holds no more"),
        (BASE.model_copy(update={"key": ("key", "zone")}), Level.MAJOR, "the key is key, zone instead of key"),
        (BASE.model_copy(update={"facts": {"belongs to": "no day"}}), Level.MAJOR, "belongs to is no day"),
    ],
)
def test_a_change_needs_its_version(new: Document, level: Level, said: str) -> None:
    assert needed(BASE, new) == level
    assert said in changes(BASE, new)[0].sentence


@given(DOCUMENTS, DOCUMENTS)
def test_every_difference_is_noticed_and_no_other(old: Document, new: Document) -> None:
    assert (needed(old, new) is None) == (_meaning(old) == _meaning(new))


@given(DOCUMENTS)
def test_a_store_that_sorts_names_changes_nothing(document: Document) -> None:
    stored = json.dumps(document.model_dump(mode="json"), sort_keys=True)  # as jsonb does
    assert changes(document, Document.model_validate_json(stored)) == []


def test_the_order_of_columns_is_a_promise_of_marts_only() -> None:
    turned = BASE.model_copy(
        update={"table": BASE.table.model_copy(update={"columns": dict(reversed(BASE.table.columns.items()))})}
    )
    assert changes(BASE, turned) == []
    as_mart = [each.model_copy(update={"kind": "mart"}) for each in (BASE, turned)]
    assert [change.sentence for change in changes(*as_mart)] == ["the columns stand in another order"]


@given(DOCUMENTS, DOCUMENTS, st.tuples(*[st.integers(0, 3)] * 3))
def test_only_words_change_without_a_version_that_says_so(
    old: Document, new: Document, numbers: tuple[int, int, int]
) -> None:
    wanted, version = needed(old, new), ".".join(map(str, numbers))
    new = new.model_copy(update={"version": version})
    enough = {Level.MAJOR: numbers >= (2, 0, 0), Level.MINOR: numbers >= (1, 3, 0)}.get(wanted or Level.PATCH, True)
    said = unannounced(old, new)
    assert (said is None) == enough
    assert said is None or f"is version {version} where 1.2.3 was in force" in said


def _meaning(document: Document) -> object:
    """What a document promises; the order of a delivery's columns promises nothing."""
    plain = document.model_dump()
    plain["table"]["columns"] = list(plain["table"]["columns"].items())
    return plain


@given(DOCUMENTS, DOCUMENTS)
def test_what_comes_back_is_at_least_as_grave_as_words(old: Document, new: Document) -> None:
    there, back = needed(old, new), needed(new, old)
    assert (there is None) == (back is None)
    assert (there == Level.PATCH) == (back == Level.PATCH)  # only words: the same both ways


@given(DOCUMENTS, DOCUMENTS, DOCUMENTS)
def test_two_small_steps_hide_no_great_one(old: Document, between: Document, new: Document) -> None:
    """A change that is minor in each of two steps is minor in one."""
    levels = [needed(old, between), needed(between, new)]
    if all(level is not None and level > Level.MAJOR for level in levels):
        together = needed(old, new)
        assert together is None or together > Level.MAJOR


@given(st.tuples(*[st.integers(0, 99)] * 3), st.sampled_from(list(Level)))
def test_the_next_version_is_the_step_it_was_made_for(numbers: tuple[int, int, int], level: Level) -> None:
    version = ".".join(map(str, numbers))
    assert step(version, next_version(version, level)) == level
    assert parse(next_version(version, level)) > parse(version)


@pytest.mark.parametrize("wrong", ["1.2.3", "1.2.2", "1.2.5", "3.0.0", "1.3.1", "2.1.0", "1.2", "v2.0.0", "01.0.0"])
def test_versions_follow_each_other(wrong: str) -> None:
    with pytest.raises(VersionError):
        step("1.2.3", wrong)


def test_a_change_fails_with_a_sentence_until_its_version_is_right_and_written_down(tmp_path: Path) -> None:
    first = BASE.model_copy(update={"version": "1.0.0"})
    assert problems(first, tmp_path) == ["dataset fines 1.0.0 is not committed: run `calanque contract freeze`"]
    assert freeze(first, tmp_path) is not None
    assert problems(first, tmp_path) == []
    assert freeze(first, tmp_path) is None

    broken = side(first, "table", zone=None)
    [sentence] = problems(broken, tmp_path)
    assert sentence == (
        "dataset fines changed but is still 1.0.0: column zone is removed. That needs at least version 2.0.0: set it "
        "where the contract is declared, then run `calanque contract freeze`"
    )
    too_small = broken.model_copy(update={"version": "1.1.0"})
    assert "dataset fines 1.1.0 is a minor version of 1.0.0, but column zone is removed: that needs 2.0.0" in problems(
        too_small, tmp_path
    )
    for refused in (broken, too_small, broken.model_copy(update={"version": "4.0.0"})):
        with pytest.raises(VersionError):
            freeze(refused, tmp_path)
    right = broken.model_copy(update={"version": "2.0.0"})
    assert freeze(right, tmp_path) is not None
    assert problems(right, tmp_path) == []
    assert [known.version for known in committed("dataset", "fines", tmp_path)] == ["1.0.0", "2.0.0"]
    assert problems(first, tmp_path) == ["dataset fines is 1.0.0, but 2.0.0 is committed: a version never goes back"]


def test_a_committed_version_cannot_be_slipped_in(tmp_path: Path) -> None:
    """Writing the file by hand does not help: each step of the history is judged."""
    freeze(BASE, tmp_path)
    broken = side(BASE, "table", zone=None).model_copy(update={"version": "1.2.4"})
    (tmp_path / "datasets" / "fines" / "1.2.4.json").write_text(broken.text())
    assert problems(broken, tmp_path) == [
        "dataset fines 1.2.4 is a patch version of 1.2.3, but column zone is removed: that needs 2.0.0"
    ]
    (tmp_path / "datasets" / "fines" / "1.2.4.json").write_text(BASE.text())
    with pytest.raises(VersionError, match="is not what its name says"):
        problems(broken, tmp_path)


@pytest.mark.parametrize(
    "document", [*of_register(), *of_marts()], ids=lambda document: f"{document.kind}-{document.name}"
)
def test_no_contract_changed_without_its_version(document: Document) -> None:
    assert not problems(document), "\n".join(problems(document))


def test_a_patch_may_be_more_than_is_needed(tmp_path: Path) -> None:
    freeze(BASE, tmp_path)
    generous: Callable[[Level], Document] = lambda level: BASE.model_copy(  # noqa: E731
        update={"description": "Fines.", "version": next_version("1.2.3", level)}
    )
    for level in Level:
        assert problems(generous(level), tmp_path) == [
            f"dataset fines {next_version('1.2.3', level)} is not committed: run `calanque contract freeze`"
        ]
