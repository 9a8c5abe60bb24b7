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

from infra.contract_versions.changes import Change, changes, needed, unannounced
from infra.contract_versions.committed import FOLDER, committed, freeze, problems
from infra.contract_versions.document import Column, Document, Kind, Layout, Side
from infra.contract_versions.in_force import ContractHeldError, admit, in_force, put_in_force
from infra.contract_versions.numbers import Level, VersionError, next_version, parse, raised, step

__all__ = [
    "FOLDER",
    "Change",
    "Column",
    "ContractHeldError",
    "Document",
    "Kind",
    "Layout",
    "Level",
    "Side",
    "VersionError",
    "admit",
    "changes",
    "committed",
    "freeze",
    "in_force",
    "needed",
    "next_version",
    "parse",
    "problems",
    "put_in_force",
    "raised",
    "step",
    "unannounced",
]
