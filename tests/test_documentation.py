"""What is undocumented is red: settings, commands, columns of marts. Formats and rules: ``tests/ingestion/silos``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from calanque.cli import app
from infra.settings import Settings
from publication.contracts import CONTRACTS

ROOT = Path(__file__).parent.parent


@cache
def documentation() -> str:
    """README and docs; decisions say why, and the changelog what was: neither tells how to use anything."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return "\n".join(page.read_text() for page in pages if page.parent.name != "decisions")


def commands(command: Any, *before: str) -> Iterator[str]:
    for name, found in getattr(command, "commands", {}).items():
        if hasattr(found, "commands"):
            yield from commands(found, *before, name)
        else:
            yield " ".join((*before, name))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_documented(name: str) -> None:
    assert f"CALANQUE_{name.upper()}" in documentation()


@pytest.mark.parametrize("command", list(commands(get_command(app), "calanque")))
def test_a_command_is_documented(command: str) -> None:
    assert command in documentation()


@pytest.mark.parametrize("mart", CONTRACTS)
def test_a_mart_and_its_columns_are_documented(mart: str) -> None:
    labels = {column for column in CONTRACTS[mart].columns if column.endswith("_label")}
    for name in (mart, *CONTRACTS[mart].columns.keys() - labels):
        assert f"`{name}" in documentation(), name
