"""Lines of the ledger, as publication would write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from infra.build_spec import Unit
from privacy.ledger import Line
from privacy.plan import plan
from privacy.spending import release_line

START = datetime(2026, 5, 1, tzinfo=UTC)


def chain(*entries: tuple[str, object]) -> list[Line]:
    lines: list[Line] = []
    for number, (kind, body) in enumerate(entries):
        at = START + timedelta(seconds=number)
        lines.append(Line.after(lines[-1] if lines else None, at, kind, body))  # type: ignore[arg-type]
    return lines


def released(unit: Unit, fingerprint: str = "f", reason: str | None = None) -> tuple[str, object]:
    return release_line(plan(), unit, release=1, fingerprint=fingerprint, sha256="s", code_version="c", reason=reason)
