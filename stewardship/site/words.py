"""How the site says things: texts from gettext catalogues, numbers and dates as each language writes them.

A text is asked for by its English sentence, whether it stands in a template or in the register, so a sentence that
changes loses its translation visibly instead of keeping a wrong one: ``tests/stewardship/site`` fails, and until it is
translated readers see the English. English has a small catalogue of its own, for words of the code that people should
not meet.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from babel.numbers import format_decimal
from markupsafe import Markup, escape

LOCALE = Path(__file__).with_name("locale")
LANGUAGES = ("en", "fr")
NAMES = {"en": "English", "fr": "Français"}

_CODE = re.compile(r"`([^`]+)`")


@cache
def catalogue(language: str) -> Catalog:
    """The catalogue of a language, as translators edit it."""
    with (LOCALE / f"{language}.po").open("rb") as stream:
        return read_po(stream, locale=language, abort_invalid=True)


class Words:
    """One language of the site. ``missing`` collects what was asked for and is not translated."""

    def __init__(self, language: str, time_zone: str = "Europe/Paris") -> None:
        self.language = language
        self.missing: set[tuple[str | None, str]] = set()
        self._catalogue = catalogue(language)
        self._zone = ZoneInfo(time_zone)

    def say(self, text: str, /, **values: Any) -> str:
        """``text`` in this language, with ``{name}`` replaced by each value."""
        said = self._find(text, None)
        return said.format(**values) if values else said

    def name(self, kind: str, code: str) -> str:
        """What people call a ``code`` of a vocabulary: a classification, a state, a column without a description."""
        return self._find(code, kind)

    def prose(self, text: str) -> Markup:
        """``text`` in this language as HTML, `words between backticks` as code."""
        return Markup(_CODE.sub(r"<code>\1</code>", str(escape(self.say(text)))))  # noqa: S704 (escaped first)

    def number(self, value: float) -> str:
        return format_decimal(value, locale=self.language, decimal_quantization=False)

    def day(self, day: date | None) -> str:
        return format_date(day, "d MMM y", locale=self.language) if day else ""

    def moment(self, instant: datetime | None) -> str:
        """An instant on the city's clock, to the minute."""
        if instant is None:
            return ""
        return format_datetime(instant, "d MMM y HH:mm", tzinfo=self._zone, locale=self.language)

    def seconds(self, seconds: float) -> str:
        """A duration: to a tenth of a second, from two minutes on to the minute."""
        if seconds < 120:
            return self.say("{figure} s", figure=self.number(round(seconds, 1)))
        return self.say("{figure} min", figure=self.number(round(seconds / 60)))

    def share(self, part: int, whole: int) -> str:
        """``part`` of ``whole`` in per cent: 0, under 0.1, or to one decimal."""
        if not part or not whole:
            return self.say("0 %")
        percent = 100 * part / whole
        if percent < 0.1:
            return self.say("under {figure} %", figure=self.number(0.1))
        return self.say("{figure} %", figure=self.number(round(percent, 1)))

    def _find(self, text: str, context: str | None) -> str:
        message = self._catalogue.get(text, context=context)
        if message is not None and message.string:
            return str(message.string)
        if self.language != "en" or context is not None:
            self.missing.add((context, text))
        return text
