"""What the sender says about a delivery: the note ``<file>.delivery.json`` that may lie beside the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from infra.calendar import days
from ingestion.delivery.arrivals import NOTE_SUFFIX
from ingestion.formats.opening import open_inside
from ingestion.refusal import Refused, printable

LARGEST_BYTES = 2**16
MOST_DAYS = 3_660
"""A delivery covers ten years at most."""


class Note(BaseModel):
    """What the sender says about a delivery."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: str | None = Field(default=None, max_length=100)
    corrects: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$", description="A delivery id.")
    covers: tuple[str, ...] = Field(default=(), description="Days, 2026-01-31, and first and last ones, with a slash.")

    @field_validator("covers", mode="before")
    @classmethod
    def _listed(cls, covers: object) -> object:
        """In the metadata of an object there is a text where a note has a list."""
        return tuple(filter(None, map(str.strip, covers.split(",")))) if isinstance(covers, str) else covers

    @field_validator("covers")
    @classmethod
    def _are_days(cls, covers: tuple[str, ...]) -> tuple[str, ...]:
        if sum(len(days.read(each)) for each in covers) > MOST_DAYS:
            raise ValueError(f"more than {MOST_DAYS:,} days are covered")
        return covers

    @property
    def days(self) -> list[date]:
        """The days that the silo is complete for with this delivery, as its sender says, in order."""
        return sorted({day for each in self.covers for day in days.read(each).days})


def said(file: Path, *, format: str | None, corrects: str | None, covers: Sequence[str]) -> Note:  # noqa: A002
    """A note that says this of a file.

    Raises:
        Refused: that cannot be said.
    """
    try:
        return Note(format=format, corrects=corrects, covers=tuple(covers))
    except ValidationError as error:
        raise _wrong(file, error) from None


def path_of(file: Path) -> Path:
    """Where the note of a file lies."""
    return file.with_name(file.name + NOTE_SUFFIX)


def write(file: Path, note: Note) -> None:
    """Write the note of a file, unless it says nothing."""
    if note != Note():
        path_of(file).write_text(note.model_dump_json(exclude_defaults=True))


def read(folder: Path, file: Path) -> Note:
    """The note of a file of ``folder``; one that says nothing when there is none.

    Raises:
        Refused: it is not an ordinary file, too large, or does not say what a note says.
    """
    try:
        with open_inside(folder, path_of(file)) as stream:
            content = stream.read(LARGEST_BYTES + 1)
    except FileNotFoundError:
        return Note()
    if len(content) > LARGEST_BYTES:
        raise _unreadable(file, f"is larger than {LARGEST_BYTES:,} bytes")
    try:
        # Pydantic's own parser, which has a limit of depth. A note may be UTF-16, or begin with a byte order mark.
        return Note.model_validate_json(content.decode(json.detect_encoding(content)))
    except UnicodeDecodeError:
        raise _unreadable(file, "is not text") from None
    except ValidationError as error:
        raise _wrong(file, error) from None


def _wrong(file: Path, error: ValidationError) -> Refused:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # A key that is none of a note's may be anything, a person's name too; a number is a place in a list.
    where = ".".join(
        str(part) if isinstance(part, int) or part in Note.model_fields else "another key" for part in fault["loc"]
    )
    what = f"{where}: {fault['msg']}" if where else fault["msg"]
    form = ", ".join(f'"{name}": ...' for name in Note.model_fields)
    return _unreadable(file, f"is not of the form {{{form}}} ({what})")


def _unreadable(file: Path, problem: str) -> Refused:
    name = printable(path_of(file).name)
    return Refused("note_unreadable", file.name, f"its note {name} {problem}", "Deliver it with `calanque drop`")
