"""Source pages into a site: Sphinx once for each language of each edition, side by side, and dbt's own documentation.

A built edition is a folder: ``index.html`` (choose a language), ``en/``, ``fr/`` and, when asked for, ``dbt/``. It
works from a web server, from an object store and from the disk (file://): nothing is fetched from anywhere else.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import escape
from pathlib import Path

from stewardship.site import pages
from stewardship.site.facts import Facts, for_everybody
from stewardship.site.words import LANGUAGES, NAMES, Words

HERE = Path(__file__).parent
EDITIONS = ("site", "stewards")
"""``site`` is for everybody who may read bucket docs; ``stewards`` has exact figures of deliveries."""

_SIDE_BY_SIDE = 2
_FOOTER = "Made by Calanque from its register, contracts and registry. Nothing on this page is loaded from elsewhere."
_LEFT_OVERS = (".buildinfo", "objects.inv", ".doctrees")


class SiteError(RuntimeError):
    """The site could not be built; the message is the generator's."""


@dataclass(frozen=True)
class Built:
    """A built edition: its folder, how many pages it has, and the texts nobody translated."""

    folder: Path
    pages: int
    missing: frozenset[tuple[str, str | None, str]]  # language, context, text


def build(facts: Facts, target: Path, *, edition: str, dbt: Path | None = None) -> Built:
    """Build one edition into ``target``, which is replaced. ``dbt`` is the page that :func:`dbt_page` made.

    Raises:
        SiteError: Sphinx found anything to complain about.
    """
    is_stewards = edition == "stewards"
    told = facts if is_stewards else for_everybody(facts)
    with tempfile.TemporaryDirectory(prefix="calanque-site-") as scratch:
        draft = Path(scratch) / "out"
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            sources = dict(
                zip(
                    LANGUAGES,
                    pool.map(
                        lambda language: _language(
                            told, language, Path(scratch), is_stewards=is_stewards, has_dbt=dbt is not None
                        ),
                        LANGUAGES,
                    ),
                    strict=True,
                )
            )
        (draft / "index.html").write_text(entrance(""), encoding="utf-8")
        if dbt is not None:
            (draft / "dbt").mkdir()
            shutil.copyfile(dbt, draft / "dbt" / "index.html")
        if target.exists():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(draft, target)
    missing = frozenset((language, *each) for language, source in sources.items() for each in source.missing)
    return Built(target, sum(len(source.pages) for source in sources.values()), missing)


def _language(facts: Facts, language: str, scratch: Path, *, is_stewards: bool, has_dbt: bool) -> pages.Source:
    words = Words(language, facts.time_zone)
    source = pages.write(facts, words, is_stewards=is_stewards, has_dbt=has_dbt)
    folder, out = scratch / f"source-{language}", scratch / "out" / language
    for name in ("theme", "static"):
        shutil.copytree(HERE / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(HERE / "theme" / "conf.py", folder / "conf.py")
    for path, text in source.pages.items():
        _put(folder / path, text)
    for path, text in source.files.items():
        _put(folder / "extra" / path, text)
    title = words.say("Calanque for stewards") if is_stewards else words.say("Calanque")
    site = {
        "title": title,
        "language": language,
        "languages": NAMES,
        "words": {
            "languages": words.say("Languages"),
            "footer": words.say(_FOOTER),
        },
    }
    _put(folder / "site.json", json.dumps(site))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--builder", "html"),
            *("--doctree-dir", str(scratch / f"doctrees-{language}"), str(folder), str(out)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SiteError(f"the {language} pages cannot be built: {done.stderr.strip()[-2000:]}")
    for name in _LEFT_OVERS:
        (out / name).unlink(missing_ok=True)
    _say_theme_words(out, words)
    return pages.Source(source.pages, source.files, frozenset(words.missing))


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


THEME_WORDS = (
    "Toggle site navigation sidebar",
    "Toggle table of contents sidebar",
    "Toggle Light / Dark / Auto color theme",
    "Skip to content",
    "Back to top",
    "On this page",
)
"""What Furo says in English whatever the language."""

_TABLE = '<div class="table-wrapper'


def _say_theme_words(out: Path, words: Words) -> None:
    said = {text: escape(words.say(text)) for text in THEME_WORDS}
    # Tables of Markdown pages scroll sideways on a phone: the keyboard must reach them too.
    said[_TABLE] = f'<div tabindex="0" role="region" aria-label="{escape(words.say("Table"))}" class="table-wrapper'
    for path in out.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        for text, replacement in said.items():
            html = html.replace(text, replacement)
        path.write_text(html, encoding="utf-8")


def entrance(prefix: str) -> str:
    """The page that sends readers to their language, in the site below ``prefix``."""
    links = "".join(
        f'<li><a href="{prefix}{code}/index.html" lang="{code}" hreflang="{code}">{name}</a></li>'
        for code, name in NAMES.items()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Calanque</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<script>location.replace("
        f"'{prefix}' + (navigator.language.startsWith('fr') ? 'fr' : 'en') + '/index.html')</script>"
        f"</head><body><main><h1>Calanque</h1><ul>{links}</ul></main></body></html>\n"
    )
