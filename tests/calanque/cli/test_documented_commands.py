"""Every `calanque` command that a runbook or a page of docs/ tells to type is one that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from calanque.cli import app
from stewardship.alerts.model import KINDS

DOCS = Path(__file__).parents[3] / "docs"
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_COMMAND = re.compile(r"^\s*calanque ([^#|<>\n]*)", re.MULTILINE)


def told() -> Iterator[tuple[str, list[str]]]:
    for page in [DOCS / "retention.md", *sorted(DOCS.glob("runbooks/*.md")), *sorted(DOCS.glob("operations/*.md"))]:
        for block in _BLOCK.findall(page.read_text()):
            for words in _COMMAND.findall(block):
                yield page.name, words.split()


@pytest.mark.parametrize(("page", "words"), list(told()), ids=str)
def test_the_command_exists_and_takes_these_options(page: str, words: list[str]) -> None:
    command = typer.main.get_command(app)
    assert words
    assert words[0] in getattr(command, "commands", {}), page
    while words and words[0] in getattr(command, "commands", {}):
        command, words = getattr(command, "commands", {})[words[0]], words[1:]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known, page


def test_the_pages_tell_some() -> None:
    assert {words[0] for _, words in told()} >= {"keys", "erase", "retention"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_alert_has_a_runbook_that_says_who_and_when_to_call(kind: str) -> None:
    page = (DOCS / "runbooks" / f"{kind}.md").read_text()
    assert page.splitlines()[0].endswith(f"(`{kind}`)")
    for part in ("**What it means.**", "**Who.**", "**Call**", "**Over**"):
        assert part in page, part
    assert "```sh" in page
