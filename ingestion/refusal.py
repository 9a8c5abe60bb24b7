"""Why a delivery is refused as a whole: one exception, one sentence a person can act on.

A refused delivery stays in landing; nothing of it is loaded. A refusal never carries a value of the delivery: file
names, column names, rules and numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping

from infra.errors import ExpectedError

REFUSALS: Mapping[str, str] = {
    "path_outside": "the path leaves the drop folder",
    "not_a_file": "a link, folder, device or other thing that is not an ordinary file",
    "empty_file": "no content at all",
    "binary_content": "not a text file: a workbook, an image, a program, a column store...",
    "nul_byte": "text that contains a NUL byte",
    "not_text": "bytes that no accepted encoding explains",
    "line_too_long": "a line longer than any record can be",
    "too_many_columns": "a header with more columns than any format has",
    "archive_unreadable": "a compressed file that is truncated, damaged, encrypted or compressed in an unknown way",
    "archive_not_single": "an archive that does not hold exactly one data file, or holds another archive",
    "archive_bomb": "a compressed file that expands beyond the limits",
    "format_unknown": "no accepted format explains the content",
    "header_not_first": "the header of an accepted format, with other lines above it",
    "header_missing": "the content of an accepted format, without the header that it has",
    "format_ambiguous": "several accepted formats explain the content equally well",
    "format_mismatch": "the content is not of the format that was named",
    "wrong_silo": "the content is that of another silo",
    "columns_missing": "a column that the format requires is missing or was renamed",
    "columns_repeated": "a column that the format reads appears twice",
    "still_changing": "a file that changed while it was being landed",
    "name_too_long": "a name longer than a file of the drop folder may have",
    "not_landed": "a file that met an error nobody foresaw, and is tried again",
    "not_removed": "a file that has landed, in a drop folder from which the lake may remove nothing",
    "too_large": "more bytes than one object can hold",
    "note_unreadable": "the note that goes with the file does not say what a note says",
    "correction_unknown": "a correction of a delivery that the silo never received",
    "correction_empty": "a correction of which no row is good",
    "overtaken": "a delivery that later ones overtook, in a way that can no longer be reconstructed",
    "individual_level": "rows about individuals where only aggregates are accepted",
}
"""Every rule by which a delivery may be refused, and what it means."""

BY_FORMAT = frozenset(
    {
        *("format_unknown", "format_ambiguous", "format_mismatch", "wrong_silo"),
        *("header_not_first", "header_missing", "columns_missing", "columns_repeated"),
    }
)
"""Refusals that may be none once other formats are accepted."""

_LONGEST_NAME = 120


class Refused(ExpectedError):
    """A delivery that cannot be accepted at all.

    Args:
        rule: a key of :data:`REFUSALS`.
        file: the delivered file's name; unprintable characters are replaced and long names shortened.
        problem: what is wrong, without a final full stop.
        remedy: what to do about it, without a final full stop.
    """

    def __init__(self, rule: str, file: str, problem: str, remedy: str) -> None:
        super().__init__(rule, file, problem, remedy)  # all arguments, so that it survives pickling
        self.rule = rule
        self.file = printable(file)
        self.problem = problem
        self.remedy = remedy

    @property
    def sentence(self) -> str:
        return f"{self.file}: {self.problem}. {self.remedy}."

    def __str__(self) -> str:
        return self.sentence


def printable(text: str, longest: int = _LONGEST_NAME) -> str:
    """``text`` on one line, without control characters, at most ``longest`` characters long."""
    clean = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"
