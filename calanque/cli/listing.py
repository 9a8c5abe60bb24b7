"""Silos and deliveries as a person reads them: what is short on one line, and below it, whole, what is prose."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import typer

from ingestion.register import silos

SILOS = ", ".join(silos())
"""The names of all silos, for help texts."""


def show(deliveries: Iterable[Mapping[str, Any]]) -> None:
    """Print deliveries as :func:`stewardship.review.described` tells them: ids and file names are never cut."""
    for each in deliveries:
        typer.echo(f"{each['silo']}, {each['landed_at']:%Y-%m-%d %H:%M}: {each['status']}")
        typer.echo(f"  {each['delivery']}")
        below(each["file"] + (f" (format {each['format']})" if each["format"] else ""))
        if each["status"] == "committed":
            below(f"{each['rows_in']:,} rows in, {each['accepted']:,} accepted, {each['quarantined']:,} quarantined")
        if each["corrects"]:
            below(f"corrects {each['corrects']}")
        for what, rules in (("quarantined", each["by_rule"]), ("with a warning", each["warnings"])):
            if rules:
                below(f"{what}: {', '.join(f'{rule} {count:,}' for rule, count in rules.items())}")
        if each["reason"]:
            below(each["reason"])


def below(prose: str) -> None:
    """Print ``prose`` as wide as the terminal, indented; no word of it is broken."""
    width = max(shutil.get_terminal_size().columns, 40)
    indented = {"initial_indent": "  ", "subsequent_indent": "  "}
    typer.echo(textwrap.fill(prose, width, **indented, break_long_words=False, break_on_hyphens=False))  # type: ignore[arg-type]
