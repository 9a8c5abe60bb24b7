"""The words of a warning: a subject line and a text for people, a document for programs."""

from __future__ import annotations

from typing import Any

from stewardship.alerts.model import Episode, Phase

Notice = tuple[Phase, Episode]

_MOMENT = "%Y-%m-%d %H:%M UTC"
_KEYS_SHOWN = 20


def subject(lake: str, notices: list[Notice]) -> str:
    """One line, whatever the texts hold."""
    if len(notices) > 1:
        return f"[Calanque {lake}] {len(notices)} messages"
    phase, episode = notices[0]
    over = "resolved: " if phase == "resolved" else ""
    return " ".join(f"[Calanque {lake}] {over}{episode.kind}: {episode.subject}".split())


def text(notices: list[Notice]) -> str:
    """What happened, which rows, what it means and what to do, who has to act, and where to read on."""
    separator = "\n" + "-" * 72 + "\n\n"
    return separator.join(_one(phase, episode) for phase, episode in notices)


def document(lake: str, notice: Notice) -> dict[str, Any]:
    """The same for a program."""
    phase, episode = notice
    return {
        "lake": lake,
        "alert_id": episode.alert_id,
        "phase": phase,
        "kind": episode.kind,
        "key": episode.key,
        "subject": episode.subject,
        "silo_or_mart": episode.silo_or_mart,
        "owner": episode.owner,
        "sentence": episode.sentence,
        "details": episode.details,
        "runbook": episode.runbook,
        "first_seen": episode.first_seen.isoformat(),
        "last_seen": episode.last_seen.isoformat(),
        "count": episode.count,
        "resolved_at": episode.resolved_at.isoformat() if episode.resolved_at else None,
        "resolved_because": episode.resolved_because,
    }


def _one(phase: Phase, episode: Episode) -> str:
    lines = [episode.sentence, ""]
    if episode.resolved_at is not None:
        lines = [f"This is over since {episode.resolved_at:{_MOMENT}}: {episode.resolved_because}", "", *lines]
    if phase == "begun":
        for rule in episode.details.get("rules", ()):
            lines += [f"Rule {rule['rule']}: {rule['rows']:,} rows.", f"  {rule['meaning']}"]
            if rule["row_numbers"]:
                lines.append(f"  Rows {keys(rule['row_numbers'], rule['rows'])}")
            lines.append("")
    figures = {name: value for name, value in episode.details.items() if name != "rules" and value is not None}
    lines += [f"{name.replace('_', ' ').capitalize()}: {value}" for name, value in figures.items()]
    if episode.silo_or_mart:
        lines.append(f"About: {episode.silo_or_mart}")
    lines += [
        f"Owner: {episode.owner}",
        f"Since: {episode.first_seen:{_MOMENT}}",
        f"What to do: {episode.runbook}",
        "",
    ]
    return "\n".join(lines)


def keys(row_numbers: list[int], rows: int) -> str:
    """The first of the rows by number, and how many more there are."""
    shown = row_numbers[:_KEYS_SHOWN]
    more = rows - len(shown)
    return ", ".join(str(number) for number in shown) + (f" and {more:,} more" if more > 0 else "")
