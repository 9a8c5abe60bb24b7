"""The versions that are committed under ``docs/contracts``."""

from __future__ import annotations

import itertools
from pathlib import Path

from infra.contract_versions.changes import changes, needed
from infra.contract_versions.document import Document, Kind
from infra.contract_versions.numbers import Level, VersionError, next_version, parse, step

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "contracts"


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
