"""Facts into source pages of one language, as Sphinx reads them: Markdown with blocks of HTML, from templates."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from infra.lineage.classification import Classification
from stewardship.site import pictures
from stewardship.site.facts import Day, Facts, Field, MartFacts, Origin, SiloFacts, SiloState
from stewardship.site.living import HISTORY
from stewardship.site.words import Words

TEMPLATES = Path(__file__).with_name("templates")
READING = Path(__file__).resolve().parents[2] / "docs" / "privacy"
STATUSES = ("landed", "committed", "refused", "parked")
TERMS = ("silo", "mart", "contract", "quarantine", "receipt", "ledger", "budget", "noise", "release", "steward")
NEWEST = 30
"""How many releases the page of all releases lists."""

_CLASSES = tuple(each.value for each in Classification)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|$~^])")
_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)[^)]*\)")
_OTHER_LANGUAGE = re.compile(r"^\*\[.*\]\(reading\.\w\w\.md\)\*\n", re.MULTILINE)


@dataclass(frozen=True)
class Source:
    """A site's source pages by path, the files that are copied as they are, and texts that nobody translated."""

    pages: Mapping[str, str]
    files: Mapping[str, str]
    missing: frozenset[tuple[str | None, str]]


def write(facts: Facts, words: Words, *, is_stewards: bool, has_dbt: bool) -> Source:
    """Every page of one edition in one language.

    ``is_stewards`` shows exact figures; without, ``facts`` must be those of :func:`facts.for_everybody`.
    """
    writer = _Writer(facts, words, is_stewards=is_stewards, has_dbt=has_dbt)
    pages = dict(writer.pages())
    files = {"register.csv": _csv(words, facts)}
    return Source(pages, files, frozenset(words.missing))


class _Writer:
    """The templates with what all of them ask for."""

    def __init__(self, facts: Facts, words: Words, *, is_stewards: bool, has_dbt: bool) -> None:
        self.facts, self.words, self.is_stewards = facts, words, is_stewards
        # Everything is escaped; what is HTML already says so (Markup).
        self.environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters["md"] = _heading
        self.environment.globals.update(
            facts=facts,
            living=facts.living,
            is_stewards=is_stewards,
            has_dbt=has_dbt,
            classes=_CLASSES,
            say=words.say,
            name=words.name,
            prose=words.prose,
            number=words.number,
            day=words.day,
            moment=words.moment,
            share=words.share,
            seconds=words.seconds,
            retention=lambda silo: _retention(silo, words),
            over_time=self.over_time,
            total=lambda days: sum(each.rows_in or 0 for each in days),
        )

    def pages(self) -> Iterator[tuple[str, str]]:
        yield "index.md", self.render("index.md.j2")
        yield "silos/index.md", self.render("silos.md.j2")
        yield "marts/index.md", self.render("marts.md.j2")
        yield "words.md", self.render("words.md.j2", statuses=STATUSES, terms=TERMS)
        titles, rows = register(self.words, self.facts)
        named = [_Row(silo.name, row) for silo, row in zip(self.facts.silos, rows, strict=True)]
        yield "register.md", self.render("register.md.j2", titles=titles, rows=named)
        runs = self.runs_over_time() if self.facts.living and self.facts.living.runs.days else None
        yield "history.md", self.render("history.md.j2", newest=self.newest(), runs=runs, work=self.work)
        yield "reading.md", reading(self.words.language)
        for silo in self.facts.silos:
            now = self.facts.living.silos.get(silo.name) if self.facts.living else None
            yield f"silos/{silo.name}.md", self.render("silo.md.j2", silo=silo, now=now)
        by_name = {silo.name: silo for silo in self.facts.silos}
        for mart in self.facts.marts:
            yield (
                f"marts/{mart.name}.md",
                self.render(
                    "mart.md.j2",
                    mart=mart,
                    silo=by_name[mart.silo],
                    now=self.facts.living.marts[mart.name] if self.facts.living else None,
                    picture=pictures.descent(mart, self.words),
                    origins=list(origins(mart)),
                    checks=list(_checks(mart, self.words)),
                ),
            )

    def render(self, template: str, **values: Any) -> str:
        return self.environment.get_template(template).render(**values)

    def newest(self) -> list[tuple[str, Any]]:
        """The newest releases of all marts, newest first."""
        if self.facts.living is None:
            return []
        every = [(mart, each) for mart, state in self.facts.living.marts.items() for each in state.releases]
        return sorted(every, key=lambda pair: (pair[1].released_at, pair[0]), reverse=True)[:NEWEST]

    def over_time(self, silo: SiloFacts, now: SiloState) -> Markup:
        """The picture of a silo's last days, and the table that says the same."""
        assert self.facts.living is not None  # noqa: S101 (templates ask only then)
        last = self.facts.living.as_of.date()
        if not now.days:
            return Markup("<p>{}</p>").format(self.words.say("Nothing was delivered in this time."))
        said = self.words.say("Rows by day")
        first, last = last - HISTORY, max(last, now.days[-1].day)
        title = self.words.say(silo.title)
        drawn = [self._picture(title, said, first, last, list(self._series(now.days)))]
        share = {each.day: 100 * (each.quarantined or 0) / each.rows_in for each in now.days if each.rows_in}
        aside = self.words.say("Rows put aside by day, in per cent")
        drawn.append(self._picture(title, aside, first, last, [pictures.Series("bar-quarantined", aside, share)]))
        return Markup(  # noqa: S704 (an autoescaping template)
            self.render("_over_time.html.j2", pictures=drawn, title=drawn[0].title, days=now.days[::-1])
        )

    def runs_over_time(self) -> _Picture:
        """The picture of what Airflow ran."""
        assert self.facts.living is not None  # noqa: S101 (asked only then)
        days, last = self.facts.living.runs.days, self.facts.living.as_of.date()
        series = [
            pictures.Series("bar-accepted", self.words.say("Succeeded"), {each.day: each.succeeded for each in days}),
            pictures.Series("bar-quarantined", self.words.say("Failed"), {each.day: each.failed for each in days}),
        ]
        what, ran = self.words.say("Runs by day"), self.words.say("All work")
        return self._picture(ran, what, last - HISTORY, max(last, days[-1].day), series)

    def work(self, dag_id: str) -> str:
        """What people call a DAG."""
        for silo in self.facts.silos:
            if dag_id == f"land_{silo.name}":
                return self.words.say("Taking in: {silo}", silo=self.words.say(silo.title))
        return self.words.name("work", dag_id)

    def _picture(self, of: str, said: str, first: date, last: date, series: Sequence[pictures.Series]) -> _Picture:
        title = self.words.say("{silo}: {what}", silo=of, what=said)
        return _Picture(title, pictures.bars(title, first, last, series, self.words), tuple(series))

    def _series(self, days: Iterable[Day]) -> Iterator[pictures.Series]:
        kinds = {"accepted": self.words.say("Accepted"), "quarantined": self.words.say("Put aside")}
        for kind, name in kinds.items():
            yield pictures.Series(f"bar-{kind}", name, {each.day: getattr(each, kind) or 0 for each in days})


@dataclass(frozen=True)
class _Picture:
    """Bars with their title, and the series that its key explains."""

    title: str
    drawing: Markup
    series: tuple[pictures.Series, ...]


class _Row(tuple[str, ...]):
    """A line of the register that knows its silo."""

    name: str

    def __new__(cls, name: str, cells: Iterable[str]) -> _Row:
        row = super().__new__(cls, cells)
        row.name = name
        return row


# --- pieces ----------------------------------------------------------------------------------------------------------


def _heading(text: str) -> Markup:
    """Plain text as a Markdown heading has it."""
    return Markup(_MARKDOWN.sub(r"\\\1", text))  # noqa: S704 (what Markdown would read is escaped)


def _retention(silo: SiloFacts, words: Words) -> list[str]:
    kept = words.say(
        "What was put aside (rule and row number, no value): {days} days at most.", days=silo.quarantine.days
    )
    if silo.conformed_months is None:
        lake = words.say("In the lake: kept, since it is about nobody.")
    else:
        lake = words.say(
            "In the lake, under a pseudonym: {months} months; its key is destroyed two months after the month.",
            months=silo.conformed_months,
        )
    return [
        words.say("Delivered files: {days} days at most.", days=silo.landing.days),
        kept,
        lake,
        words.say("Published counts: kept, since nobody can be found in them."),
    ]


def register(words: Words, facts: Facts) -> tuple[list[str], list[list[str]]]:
    """The register of processing as a table: titles, and one row for each silo."""
    titles = [
        words.say(title)
        for title in (
            "Processing",
            "Purpose",
            "Legal basis",
            "Steward",
            "Who is concerned",
            "Data that can tell about somebody",
            "Recipients",
            "Transfers outside the European Union",
            "Kept for",
            "Safety measures",
        )
    ]
    rows = [
        [
            words.say(silo.title),
            words.say(silo.purpose),
            words.say(silo.legal_basis),
            words.say(silo.steward),
            words.name("concerned", silo.name),
            _telling(silo, words),
            "; ".join(words.say(each) for each in silo.recipients),
            words.say("none made by Calanque"),
            " ".join(_retention(silo, words)),
            words.say(
                "Access by role; pseudonyms under monthly keys kept apart and destroyed; quarantine without values; "
                "publication of noisy counts only, under a ledger."
            ),
        ]
        for silo in facts.silos
    ]
    return titles, rows


def _telling(silo: SiloFacts, words: Words) -> str:
    """What is read that can tell about somebody, by class; nothing for counts."""
    telling = [
        f"{words.name('class', classification.value)}: {', '.join(columns)}"
        for classification in Classification
        if classification not in {Classification.PUBLIC, Classification.PROVENANCE}
        and (columns := _of(silo, classification))
    ]
    return "; ".join(telling) or words.say("nothing")


def _of(silo: SiloFacts, classification: Classification) -> list[str]:
    fields: list[Field] = [field for contract in silo.contracts for field in contract.delivered]
    return list(dict.fromkeys(field.name for field in fields if field.classification is classification))


def _csv(words: Words, facts: Facts) -> str:
    """The register for a spreadsheet: with a mark that it is UTF-8, and semicolons where a comma is decimal."""
    titles, rows = register(words, facts)
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";" if words.language == "fr" else ",", lineterminator="\r\n")
    writer.writerow(titles)
    writer.writerows(rows)
    return "\ufeff" + text.getvalue()


def reading(language: str) -> str:
    """The reader's page of docs/privacy, its links to other documents as plain text: those are not on the site."""
    text = (READING / f"reading.{language}.md").read_text(encoding="utf-8")
    return _LINK.sub(r"\1", _OTHER_LANGUAGE.sub("", text))


@dataclass(frozen=True)
class _Descent:
    """What one published column is made from."""

    column: str
    kept: tuple[Origin, ...]
    public: tuple[str, ...]
    delivered: tuple[Origin, ...]
    noisy: bool


def origins(mart: MartFacts) -> Iterator[_Descent]:
    """The lineage picture as a table, a row for each published column."""
    origins = {(each.table, each.column): each for each in mart.descent.columns}
    for column in mart.columns:
        mine = [each for each in mart.descent.threads if each.to_column == column.name and "marts." in each.to_table]
        kept = [(each.from_table, each.from_column) for each in mine if each.from_table != "public"]
        delivered = [
            (each.from_table, each.from_column)
            for each in mart.descent.threads
            if (each.to_table, each.to_column) in kept and each.from_table.startswith("delivered.")
        ]
        yield _Descent(
            column=column.name,
            kept=tuple(origins[place] for place in origins if place in kept),
            public=tuple(each.from_column for each in mine if each.from_table == "public"),
            delivered=tuple(origins[place] for place in origins if place in delivered),
            noisy=any(each.noisy for each in mine),
        )


def _checks(mart: MartFacts, words: Words) -> Iterator[str]:
    """The tests of a mart in sentences, those of one kind together."""
    by_kind: dict[str, list[str]] = {}
    for check in mart.checks:
        by_kind.setdefault(check.kind, []).append(check.column or "")
    for kind, columns in by_kind.items():
        named = ", ".join(dict.fromkeys(filter(None, columns)))
        sentence = words.name("check", kind)
        yield f"{sentence} ({named})" if named else sentence
