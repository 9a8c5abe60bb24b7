"""Words of the house: one for one thing, as the glossary has it; lines of prose that can be read side by side."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GLOSSARY = ROOT / "docs" / "glossary.md"
WIDEST = 120
KINDS = ("*.py", "*.sql", "*.md", "*.yml", "*.toml")
ROOMS = {path.parent.name for path in ROOT.glob("*/*.py")} | {"docs", "dbt_project"}
HISTORY = {"CHANGELOG.md", "docs/glossary.md", "tests/test_words.py"}
"""What tells how things were called, or lists the words themselves."""


def table(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of the glossary, a list of cells each."""
    section = GLOSSARY.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


@cache
def texts() -> dict[str, str]:
    """Every file that people wrote, by its path."""
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name in ROOMS]
    found = [path for folder in folders for kind in KINDS for path in folder.rglob(kind) if "target" not in path.parts]
    return {str(path.relative_to(ROOT)): path.read_text() for path in sorted([*found, *ROOT.glob("*.md")])}


def plain(text: str) -> str:
    return unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode().lower()


def uses(word: str, text: str) -> bool:
    """Whether a text uses a word, as a word or as part of a name in code, whatever its ending."""
    return re.search(rf"(?<![a-z]){re.escape(word)}(s|d|ed|r|ing)?(?![a-z])", text.lower()) is not None


@pytest.mark.parametrize(
    ("said", "instead"), [(row[0], word) for row in table("One word for one thing") for word in row[2].split(", ")]
)
def test_one_thing_has_one_word(said: str, instead: str) -> None:
    found = [path for path, text in texts().items() if path not in HISTORY and uses(instead, text)]
    assert not found, f"{said} is the word, not {instead}"


@pytest.mark.parametrize("entry", [row[0] for row in table("French words of the trade")])
def test_a_french_word_that_is_explained_is_used(entry: str) -> None:
    words = [plain(word).strip().replace("_", " ") for word in re.split(r"[,()]", entry) if word.strip()]
    spoken = plain(" ".join(text for path, text in texts().items() if path != "docs/glossary.md")).replace("_", " ")
    assert any(word in spoken for word in words), entry


@pytest.mark.parametrize("path", [path for path in texts() if path.endswith(".md")])
def test_lines_of_prose_are_narrow(path: str) -> None:
    in_code, wide = False, []
    for number, line in enumerate(texts()[path].splitlines(), start=1):
        in_code ^= line.lstrip().startswith("```")
        if len(line) > WIDEST and not in_code and not line.lstrip().startswith("|"):
            wide.append(f"{path}:{number}")
    assert not wide


def test_the_rules_can_fail() -> None:
    assert uses("upload", "def _upload_file()")
    assert uses("upload", "Uploads a file")
    assert not uses("gold", "golden")
