"""The steward site: complete, translated, linked, the same every time; and in the edition for everybody no exact count.

The browser's part needs a Chromium: the program that ``CALANQUE_CHROMIUM`` names, else one on the PATH, else
Playwright's own. Without any it is skipped.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import string
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright
from site_sample import EXACT, HELD, MARKUP

from infra.lineage.classification import Classification
from ingestion.register import silos
from privacy.plan import plan
from publication.contracts import CONTRACTS
from stewardship.site import build, pages, words
from stewardship.site.build import Built
from stewardship.site.facts import Facts, Runs, for_everybody
from stewardship.site.words import LANGUAGES, Words, catalogue

pytestmark = pytest.mark.slow

SOURCES = Path(words.__file__).parent
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
PHONE, DESK = 360, 1280
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KINDS = (
    "index",
    "silos/verbalisations",
    "marts/crowd_by_day",
    "register",
    "history",
    "reading",
    "words",
    "silos/index",
)


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Every page of a site, with its path."""
    for path in sorted(folder.rglob("*.html")):
        yield path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8")


# --- words -----------------------------------------------------------------------------------------------------------


def test_nothing_is_left_untranslated(editions: dict[str, Built]) -> None:
    for built in editions.values():
        assert not built.missing, f"translate in stewardship/site/locale: {sorted(built.missing, key=str)}"


def test_every_sentence_of_the_site_is_translated_even_those_of_rare_states() -> None:
    said = Words("fr")
    sources = [*SOURCES.glob("templates/*.j2"), *SOURCES.glob("*.py")]
    sentences = [
        "".join(json.loads(part) for part in re.findall(r'"(?:[^"\\]|\\.)*"', call))
        for path in sources
        for call in re.findall(r'\bsay\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', path.read_text(encoding="utf-8"))
    ]
    assert len(sentences) > 150
    for sentence in sentences:
        said.say(sentence)
    assert not said.missing, f"translate in stewardship/site/locale/fr.po: {sorted(said.missing, key=str)}"


def test_a_sentence_that_is_edited_loses_its_translation() -> None:
    said = Words("fr")
    assert said.say("Purpose") == "Finalité"
    assert said.say("Purpose!") == "Purpose!"
    assert said.missing == {(None, "Purpose!")}


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_keep_what_is_filled_in(language: str) -> None:
    for message in catalogue(language):
        if message.id:
            asked = {name for _, name, _, _ in string.Formatter().parse(str(message.id)) if name}
            given = {name for _, name, _, _ in string.Formatter().parse(str(message.string)) if name}
            assert asked == given, message.id


# --- what is on the pages --------------------------------------------------------------------------------------------


def test_one_page_for_each_silo_and_each_mart_in_each_language(editions: dict[str, Built]) -> None:
    for built in editions.values():
        for language in LANGUAGES:
            there = {path for path, _ in texts(built.folder / language)}
            assert {f"silos/{name}.html" for name in silos()} <= there
            assert {f"marts/{name}.html" for name in plan().marts} <= there


def test_the_history_says_what_ran(stewards: Path) -> None:
    said = {"en": "building tables 52 1 6.2 s 6 min", "fr": "fabrication des tables 52 1 6,2 s 6 min"}
    for language, row in said.items():
        text = " ".join(" ".join(read((stewards / language / "history.html").read_text()).said).split())
        assert row in text
        assert "land_tows" not in text


class _Text(HTMLParser):
    """The text of a page as a reader has it, and its links."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.ids.add(told.get("id") or "")
        if tag == "a" and told.get("href"):
            self.links.append(str(told["href"]))
        elif told.get("src") or (tag == "link" and told.get("rel") in {"stylesheet", "icon", "prefetch"}):
            self.loaded.append(str(told.get("src") or told.get("href")))

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def read(page: str) -> _Text:
    parser = _Text()
    parser.feed(page)
    return parser


def test_a_silo_page_says_what_the_register_says(stewards: Path) -> None:
    for name, silo in silos().items():
        for language in LANGUAGES:
            page = (stewards / language / f"silos/{name}.html").read_text(encoding="utf-8")
            text = " ".join(" ".join(read(page).said).split())
            said = Words(language)
            for told in (silo.purpose, silo.legal_basis, silo.steward, *silo.recipients):
                assert " ".join(said.say(told).split()) in text
            for rule in silo.rules:
                assert rule in text
            for dataset in silo.datasets:
                for column in (*dataset.delivered.to_schema().columns, *dataset.conformed.to_schema().columns):
                    assert column in text


def test_a_mart_page_says_what_the_plan_says(stewards: Path, facts: Facts) -> None:
    for mart in facts.marts:
        page = (stewards / "en" / f"marts/{mart.name}.html").read_text(encoding="utf-8")
        text = " ".join(" ".join(read(page).said).split())
        said = Words("en")
        assert f"± {said.number(mart.privacy.noise)}" in text
        assert said.number(plan().marts[mart.name].threshold) in text
        assert str(float(plan().marts[mart.name].spends)) in text
        assert f"Version {CONTRACTS[mart.name].version} of the contract." in text
        for column in mart.columns:
            assert column.name in text


def test_the_register_is_exported_as_a_table(stewards: Path) -> None:
    for language, delimiter in (("en", ","), ("fr", ";")):
        text = (stewards / language / "register.csv").read_text(encoding="utf-8-sig")
        titles, *rows = csv.reader(text.splitlines(), delimiter=delimiter)
        assert len(rows) == len(silos())
        assert {len(row) for row in rows} == {len(titles)}
        said = Words(language)
        assert [row[1] for row in rows] == [said.say(silo.purpose) for silo in silos().values()]
        assert all(cell for row in rows for cell in row)


def test_texts_are_never_taken_for_markup(stewards: Path) -> None:
    page = (stewards / "en" / "index.html").read_text(encoding="utf-8")
    assert MARKUP not in page
    assert MARKUP in "".join(read(page).said)


# --- who may see what ------------------------------------------------------------------------------------------------


def spellings(figure: int) -> set[str]:
    """A figure as any page may write it."""
    return {str(figure), *(Words(language).number(figure) for language in LANGUAGES)}


def test_exact_counts_are_for_stewards_only(everybody: Path, stewards: Path) -> None:
    forbidden = {spelling for figure in EXACT for spelling in spellings(figure)} | {HELD, HELD.split()[1]}
    for path in everybody.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [each for each in forbidden if each.encode() in content], path.relative_to(everybody)
    shown = "".join(page for _, page in texts(stewards))
    for figure in EXACT:  # the search can find
        assert any(each in shown for each in spellings(figure)), figure
    assert HELD in shown


def test_facts_for_everybody_have_no_exact_count(facts: Facts) -> None:
    told, kept = repr(for_everybody(facts).living), repr(facts.living)
    for figure in EXACT:
        assert str(figure) not in told
        assert str(figure) in kept


def test_whatever_was_delivered_everybody_reads_the_same(facts: Facts) -> None:
    assert facts.living is not None
    silos = {name: replace(state, newest=None, waiting=9, days=()) for name, state in facts.living.silos.items()}
    marts = {name: replace(state, is_held=not state.is_held) for name, state in facts.living.marts.items()}
    other = replace(facts, living=replace(facts.living, silos=silos, marts=marts, runs=Runs((), ()), warned=()))
    assert for_everybody(other) == for_everybody(facts) != for_everybody(replace(facts, living=None))


# --- lineage ---------------------------------------------------------------------------------------------------------


def test_nothing_about_people_passes_but_counted_with_noise(facts: Facts) -> None:
    for mart in facts.marts:
        classes = {(each.table, each.column): each.classification for each in mart.descent.columns}
        into = [each for each in mart.descent.threads if each.to_table == f"marts.{mart.name}"]
        personal = [
            each
            for each in into
            if each.from_table != "public" and classes[(each.from_table, each.from_column)] is not Classification.PUBLIC
        ]
        assert personal, mart.name
        assert all(each.noisy for each in personal), mart.name


def test_lineage_reaches_the_delivered_column(facts: Facts, stewards: Path) -> None:
    mart = next(each for each in facts.marts if each.name == "fines_by_day")
    threads = {(each.from_table, each.from_column, each.to_column) for each in mart.descent.threads}
    assert ("conformed.verbalisations", "vehicle", "fines") in threads
    assert ("delivered.verbalisations", "plate", "vehicle") in threads
    row = next(each for each in pages.origins(mart) if each.column == "fines")
    assert "plate" in {each.column for each in row.delivered}
    assert row.noisy
    page = (stewards / "fr" / "marts/fines_by_day.html").read_text(encoding="utf-8")
    picture = re.search(r'<svg class="lineage".*?</svg>', page, re.DOTALL)
    assert picture
    assert {"plate", "vehicle", "fines", "identifie", "pseudonyme"} <= set(read(picture[0]).said)


# --- the whole -------------------------------------------------------------------------------------------------------


def test_every_link_leads_somewhere_and_nothing_is_loaded_from_elsewhere(editions: dict[str, Built]) -> None:
    for built in editions.values():
        found = {path: read(page) for path, page in texts(built.folder)}
        assert len(found) > 50
        for path, page in found.items():
            here = (built.folder / path).parent
            for link in (*page.links, *page.loaded):
                parts = urlsplit(link)
                assert not parts.scheme, f"{path} leads outside: {link}"
                assert not parts.netloc, f"{path} leads outside: {link}"
                target = (here / unquote(parts.path)).resolve() if parts.path else built.folder / path
                assert target.is_file(), f"{path} leads nowhere: {link}"
                if parts.fragment and target.suffix == ".html":
                    there = found[target.relative_to(built.folder).as_posix()]
                    assert unquote(parts.fragment) in there.ids, f"{path} leads nowhere: {link}"


def test_the_same_facts_give_the_same_bytes(facts: Facts, everybody: Path, tmp_path: Path) -> None:
    again = build.build(facts, tmp_path / "again", edition="site", dbt=everybody / "dbt" / "index.html").folder
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (everybody, again)
    )
    assert first == second


def test_nothing_of_the_theme_is_left_in_english(stewards: Path) -> None:
    for path, page in texts(stewards / "fr"):
        assert not [text for text in build.THEME_WORDS if text in page], path


# --- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("CALANQUE_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    none = "no Chromium: name one with CALANQUE_CHROMIUM, or install the package chromium"
    try:
        playwright = sync_playwright().start()
    except Exception:  # its driver needs libraries that a machine without a browser may lack
        if found is None:
            pytest.skip(none)
        raise
    try:
        found = found or playwright.chromium.executable_path
        if not Path(found).exists():
            pytest.skip(none)
        started = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield started
        started.close()
    finally:
        playwright.stop()


class Visit:
    """A reader with a screen of one width and one colour scheme; remembers what went wrong."""

    def __init__(self, browser: Browser, *, width: int, scheme: str, locale: str = "en") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme=scheme,  # type: ignore[arg-type]
            locale=locale,
        )
        self.page: Page = self.context.new_page()
        self.width, self.troubles = width, list[str]()
        self.page.on("request", self._requested)
        self.page.on("pageerror", lambda error: self.troubles.append(f"script: {error}"))

    def _requested(self, request: Any) -> None:
        if not request.url.startswith("file:"):
            self.troubles.append(f"asked for {request.url}")

    def look(self, path: Path) -> None:
        """Open a page with all that folds unfolded, and note whatever is wrong with it."""
        self.page.goto(path.as_uri())
        self.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        wide = self.page.evaluate("document.documentElement.scrollWidth")
        if wide > self.width:
            self.troubles.append(f"{path.name} is {wide} wide on a screen of {self.width}")
        answer = Axe().run(self.page, options={"runOnly": {"type": "tag", "values": WCAG}}).response
        for violation in answer["violations"]:
            where = violation["nodes"][0]["html"][:120]
            self.troubles.append(f"{path.parent.name}/{path.name}: {violation['id']}: {where}")


@pytest.mark.parametrize(("width", "scheme", "language"), [(PHONE, "light", "fr"), (DESK, "dark", "en")])
def test_every_kind_of_page_is_accessible_and_fits(
    browser: Browser, stewards: Path, width: int, scheme: str, language: str
) -> None:
    visit = Visit(browser, width=width, scheme=scheme)
    for kind in KINDS:
        visit.look(stewards / language / f"{kind}.html")
    visit.context.close()
    assert not visit.troubles


@pytest.mark.long
@pytest.mark.parametrize(("width", "scheme"), [(PHONE, "light"), (PHONE, "dark"), (DESK, "light"), (DESK, "dark")])
def test_every_page_is_accessible_and_fits(browser: Browser, stewards: Path, width: int, scheme: str) -> None:
    visit = Visit(browser, width=width, scheme=scheme)
    for path in sorted(stewards.rglob("*.html")):  # the other edition shows less of the same
        if path.parent.name != "dbt":
            visit.look(path)
    visit.context.close()
    assert not visit.troubles


def test_the_check_can_find_something(browser: Browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text('<!doctype html><title>x</title><img src="x.png"><div style="width:2000px">wide</div>')
    visit = Visit(browser, width=PHONE, scheme="light")
    visit.look(bad)
    visit.context.close()
    said = " ".join(visit.troubles)
    assert "image-alt" in said
    assert "html-has-lang" in said
    assert "wide on a screen" in said


@pytest.mark.parametrize(
    ("language", "query", "expected"), [("en", "removals pound", "tows"), ("fr", "fourrière", "tows")]
)
def test_the_search_answers_without_a_server(
    browser: Browser, stewards: Path, language: str, query: str, expected: str
) -> None:
    visit = Visit(browser, width=DESK, scheme="light")
    visit.page.goto((stewards / language / "index.html").as_uri())
    visit.page.fill("input[name=q]", query)
    visit.page.press("input[name=q]", "Enter")
    visit.page.wait_for_selector("#search-results li a", timeout=60_000)
    found = visit.page.eval_on_selector_all("#search-results li a", "all => all.map(each => each.href)")
    visit.context.close()
    assert any(expected in link for link in found)
    assert not visit.troubles


@pytest.mark.parametrize(("locale", "language"), [("fr-FR", "fr"), ("de-DE", "en")])
def test_readers_come_in_by_their_language_and_may_change_it(
    browser: Browser, everybody: Path, locale: str, language: str
) -> None:
    visit = Visit(browser, width=DESK, scheme="light", locale=locale)
    visit.page.goto((everybody / "index.html").as_uri())
    visit.page.wait_for_url(f"**/{language}/index.html", timeout=60_000)
    visit.page.goto((everybody / language / "silos" / "tows.html").as_uri())
    visit.page.click("nav.languages a")
    other = next(each for each in LANGUAGES if each != language)
    visit.page.wait_for_url(f"**/{other}/silos/tows.html", timeout=60_000)
    assert visit.page.get_attribute("html", "lang") == other
    visit.context.close()
    assert not visit.troubles
