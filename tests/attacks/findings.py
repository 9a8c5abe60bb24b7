"""What an attack found: one line of the report."""

from __future__ import annotations

import html
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.attacks.measures import Interval

Sense = Literal["<=", ">=", "=="]
_HOLDS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}


@dataclass(frozen=True)
class Control:
    """The same attack on a deliberately broken build, where it must reach ``needed`` or it proves nothing."""

    broken: str
    measured: float
    needed: float
    sense: Sense = ">="

    @property
    def succeeded(self) -> bool:
        return _HOLDS[self.sense](self.measured, self.needed)


@dataclass(frozen=True)
class Finding:
    """One measured quantity of one attack: it must be ``sense`` ``limit``."""

    attack: str
    measures: str
    limit: float
    measured: float
    control: Control
    sense: Sense = "<="
    interval: Interval | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def within(self) -> bool:
        return _HOLDS[self.sense](self.measured, self.limit)

    @property
    def verdict(self) -> str:
        if not self.control.succeeded:
            return "control failed"
        return "holds" if self.within else "BROKEN"

    def document(self) -> dict[str, Any]:
        return {
            "attack": self.attack,
            "measures": self.measures,
            "limit": {"sense": self.sense, "value": self.limit},
            "measured": self.measured,
            "interval": list(self.interval) if self.interval else None,
            "control": {
                "broken_build": self.control.broken,
                "needed": {"sense": self.control.sense, "value": self.control.needed},
                "measured": self.control.measured,
                "succeeded": self.control.succeeded,
            },
            "verdict": self.verdict,
            "details": dict(self.details),
        }


@dataclass(frozen=True)
class Report:
    """All findings, city by city."""

    cities: Mapping[str, Sequence[Finding]]
    about: Mapping[str, Any]

    @property
    def holds(self) -> bool:
        findings = [each for some in self.cities.values() for each in some]
        return bool(findings) and all(each.verdict == "holds" for each in findings)

    def json(self) -> str:
        document = {
            "holds": self.holds,
            "about": dict(self.about),
            "cities": {city: [each.document() for each in found] for city, found in self.cities.items()},
        }
        return json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n"

    def page(self) -> str:
        """A page that needs nothing beside itself."""
        tables = "\n".join(_table(city, found) for city, found in self.cities.items())
        about = "".join(f"<li>{_text(name)}: {_text(value)}</li>" for name, value in self.about.items())
        verdict = "Every attack stays within its limit." if self.holds else "At least one attack is over its limit."
        return _PAGE.format(verdict=verdict, state="holds" if self.holds else "broken", about=about, tables=tables)


def number(value: float) -> str:
    """A figure as people read it."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.4g}"


def _text(value: object) -> str:
    return html.escape(str(value))


def _table(city: str, findings: Sequence[Finding]) -> str:
    rows = "\n".join(_row(each) for each in findings)
    head = "".join(
        f"<th>{name}</th>"
        for name in ("attack", "what is measured", "limit", "measured", "95 % interval", "broken build", "verdict")
    )
    return f"<h2>{_text(city)}</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(finding: Finding) -> str:
    control = finding.control
    interval = f"{number(finding.interval.low)} to {number(finding.interval.high)}" if finding.interval else "exact"
    reached = f"{control.broken}: {number(control.measured)} (needed {control.sense} {number(control.needed)})"
    cells = (
        finding.attack,
        finding.measures,
        f"{finding.sense} {number(finding.limit)}",
        number(finding.measured),
        interval,
        reached,
        finding.verdict,
    )
    state = "holds" if finding.verdict == "holds" else "broken"
    return f'<tr class="{state}">' + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Calanque: attacks on the published files</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; color: #1c2733 }}
table {{ border-collapse: collapse; width: 100%; font-size: 0.9rem }}
th, td {{ text-align: left; vertical-align: top; padding: 0.4rem 0.6rem; border-bottom: 1px solid #d5dce3 }}
th {{ background: #eef2f5 }} td:nth-child(3), td:nth-child(4), td:nth-child(5) {{ white-space: nowrap }}
tr td:last-child, .verdict {{ font-weight: 600 }} .holds td:last-child, .verdict.holds {{ color: #176639 }}
.broken td:last-child, .verdict.broken {{ color: #a4151f }}
</style></head><body>
<h1>Attacks on the published files</h1>
<p class="verdict {state}">{verdict}</p>
<p>Each attack sees published files and stated knowledge only. Each is also run on a build that was broken on purpose:
if it did not succeed there, its silence elsewhere would mean nothing, and the line counts as failed.</p>
<ul>{about}</ul>
{tables}
</body></html>
"""
