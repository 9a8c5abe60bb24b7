"""P14: the tampering drill of the publication tests, on a lake of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

from infra.settings import Settings
from tests.attacks.findings import Control, Finding

sys.path.insert(0, str(Path(__file__).parents[1] / "publication"))  # its helpers import each other by plain names

import released
import tampering as drill_book


def attack(settings: Settings, scratch: Path) -> list[Finding]:
    """Every drill; and the deletion of a line on a lake that does not look at its chain. The lake is emptied."""
    unnoticed = {}
    for drill, expected in drill_book.DRILLS.items():
        released.wipe(settings)
        answer = _answer(settings, scratch, drill.__name__)
        if expected not in answer:
            unnoticed[drill.__name__] = answer
    released.wipe(settings)
    with (
        mock.patch("privacy.ledger.breaks", return_value=iter(())),
        mock.patch("privacy.signed_copies.Copies.breaks", return_value=iter(())),
        mock.patch("privacy.signed_copies.Copies.check_head"),
    ):
        broken = int("NOT NOTICED" in _answer(settings, scratch, "a_deleted_line"))
    released.wipe(settings)
    return [
        Finding(
            "P14",
            f"of {len(drill_book.DRILLS)} attempts at tampering, those neither detected nor refused",
            limit=0,
            measured=len(unnoticed),
            control=Control("a line deleted where nobody checks the chain: unnoticed", broken, 1),
            details={"drills": [each.__name__ for each in drill_book.DRILLS], **unnoticed},
        )
    ]


def _answer(settings: Settings, scratch: Path, name: str) -> str:
    (drill,) = (each for each in drill_book.DRILLS if each.__name__ == name)
    try:
        return drill(settings, scratch)
    except AssertionError as reason:
        return f"NOT NOTICED: {reason}"
