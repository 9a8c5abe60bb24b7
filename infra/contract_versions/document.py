"""A contract as a document: columns with their types, rules, key, accepted formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, field_serializer, field_validator

Kind = Literal["dataset", "mart"]


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
