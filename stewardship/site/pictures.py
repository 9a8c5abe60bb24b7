"""Pictures as SVG: bars over days, and the descent of a mart's columns. Colours come from the page's style sheet, so
they follow light and dark; every picture has a title, and a table beside it says the same in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from markupsafe import Markup, escape

from stewardship.site.facts import MartFacts, Origin, Thread
from stewardship.site.words import Words

_WIDTH, _HEIGHT = 640, 180
_LEFT, _BOTTOM, _TOP = 64, 24, 10


@dataclass(frozen=True)
class Series:
    """One kind of bar: its class in the style sheet, its name, and its figure by day."""

    style: str
    name: str
    figures: Mapping[date, float]


def bars(title: str, first: date, last: date, series: Sequence[Series], words: Words) -> Markup:
    """Stacked bars, one a day from ``first`` to ``last``, with the greatest value and both ends of time written."""
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    tallest = max((sum(each.figures.get(day, 0) for each in series) for day in days), default=0) or 1
    step = (_WIDTH - _LEFT - 4) / len(days)
    scale = (_HEIGHT - _BOTTOM - _TOP) / tallest
    ground = _HEIGHT - _BOTTOM
    drawn: list[str] = []
    for number, day in enumerate(days):
        top = float(ground)
        for each in series:
            height = each.figures.get(day, 0) * scale
            if height:
                top -= height
                drawn.append(
                    f'<rect class="{each.style}" x="{_LEFT + number * step:.1f}" y="{top:.1f}" '
                    f'width="{max(step - 1, 1):.1f}" height="{height:.1f}"/>'
                )
    axis = (
        f'<line class="axis" x1="{_LEFT}" y1="{ground}" x2="{_WIDTH}" y2="{ground}"/>'
        f'<text class="end" x="{_LEFT - 6}" y="{_TOP + 8}">{escape(words.number(tallest))}</text>'
        f'<text class="end" x="{_LEFT - 6}" y="{ground}">0</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{escape(words.day(first))}</text>'
        f'<text class="end" x="{_WIDTH}" y="{_HEIGHT - 6}">{escape(words.day(last))}</text>'
    )
    return Markup(  # noqa: S704 (made of numbers, our own words and escaped text)
        f'<svg class="bars" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-label="{escape(title)}">'
        f"{''.join(drawn)}{axis}</svg>"
    )


# --- lineage ---------------------------------------------------------------------------------------------------------

_ROW, _HEAD, _SPACE = 24, 30, 22
_LANES = ((0, 205), (277, 205), (564, 165))
"""Where each lane begins and how wide it is, in pixels: together as wide as the text of a page."""


@dataclass(frozen=True)
class _Place:
    """A row of a box: its left edge, its top, and how wide the box is."""

    x: int
    y: int
    width: int


def descent(mart: MartFacts, words: Words) -> Markup:
    """From delivered columns on the left to those of the mart on the right, through noise where it is added."""
    mine = f"marts.{mart.name}"
    public = list(dict.fromkeys(each.from_column for each in mart.descent.threads if each.from_table == "public"))
    lanes = [
        _boxes(mart.descent.columns, "delivered."),
        _boxes(mart.descent.columns, "conformed."),
        _boxes(mart.descent.columns, "marts."),
    ]
    titles = [words.say("Delivered"), words.say("Kept in the lake"), words.say("Published")]
    places: dict[tuple[str, str], _Place] = {}
    drawn: list[str] = []
    heights = []
    for number, lane in enumerate(lanes):
        (x, width), y = _LANES[number], 0
        for table, columns in lane.items():
            drawn.append(_box(_Place(x, y, width), titles[number], len(columns)))
            for row, column in enumerate(columns):
                places[(table, column.column)] = _Place(x, y + _HEAD + row * _ROW, width)
                drawn.append(_column(places[(table, column.column)], column, words))
            y += _HEAD + len(columns) * _ROW + _SPACE
        if number == 1 and public:
            drawn.append(_box(_Place(x, y, width), words.say("Public lists"), len(public)))
            for row, name in enumerate(public):
                places[("public", name)] = _Place(x, y + _HEAD + row * _ROW, width)
                drawn.append(_label(places[("public", name)], "public", words.name("public list", name), ""))
            y += _HEAD + len(public) * _ROW + _SPACE
        heights.append(y)
    threads = [
        _thread(places[(each.from_table, each.from_column)], places[(each.to_table, each.to_column)], each)
        for each in sorted(mart.descent.threads, key=lambda each: each.direct)
    ]
    width, height = sum(_LANES[-1]), max(heights)
    wall = (sum(_LANES[1]) + _LANES[2][0]) // 2
    noise = _noise(mart.descent.threads, wall, height, words)
    title = words.say("Where each column of {mart} comes from", mart=mine.partition(".")[2])
    return Markup(  # noqa: S704 (made of numbers, our own words and escaped text)
        f'<svg class="lineage" role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'aria-label="{escape(title)}">{"".join(threads)}{noise}{"".join(drawn)}</svg>'
    )


def _boxes(columns: Sequence[Origin], prefix: str) -> dict[str, list[Origin]]:
    boxes: dict[str, list[Origin]] = {}
    for column in columns:
        if column.table.startswith(prefix):
            boxes.setdefault(column.table, []).append(column)
    return boxes


def _box(place: _Place, title: str, rows: int) -> str:
    width, height = place.width - 2, _HEAD + rows * _ROW - 2
    return (
        f'<rect class="box" x="{place.x + 1}" y="{place.y + 1}" width="{width}" height="{height}" rx="6"/>'
        f'<text class="head" x="{place.x + 10}" y="{place.y + 20}">{escape(title)}</text>'
    )


def _column(place: _Place, column: Origin, words: Words) -> str:
    is_published = column.table.startswith("marts.")
    said = "" if is_published else words.name("class", column.classification.value)
    return _label(place, column.classification.value, column.column, said)


def _label(place: _Place, style: str, name: str, said: str) -> str:
    middle = place.y + 16
    return (
        f'<rect class="dot class-{style}" x="{place.x + 10}" y="{place.y + 6}" width="12" height="12" rx="3"/>'
        f'<text x="{place.x + 28}" y="{middle}">{escape(_short(name, 21))}</text>'
        f'<text class="end quiet" x="{place.x + place.width - 8}" y="{middle}">{escape(said)}</text>'
    )


def _thread(start: _Place, end: _Place, thread: Thread) -> str:
    x1, y1, x2, y2 = start.x + start.width, start.y + 12, end.x, end.y + 12
    bend = (x2 - x1) // 2
    style = "thread" + ("" if thread.direct else " decides") + (" noisy" if thread.noisy else "")
    return f'<path class="{style}" d="M{x1} {y1} C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"/>'


def _noise(threads: Sequence[Thread], x: int, height: int, words: Words) -> str:
    """A wall between the lake and what is published, where anything passes counting and noise."""
    if not any(each.noisy for each in threads):
        return ""
    middle = height // 2
    return (
        f'<rect class="wall" x="{x - 11}" y="1" width="22" height="{height - 2}" rx="6"/>'
        f'<text class="wall-text" transform="translate({x + 4} {middle}) rotate(-90)">'
        f"{escape(words.say('counted, noise added'))}</text>"
    )


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
