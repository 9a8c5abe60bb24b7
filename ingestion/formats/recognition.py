"""Which format a delivery is in, judged from its first lines; and, when none fits, what a person should do about it."""

from __future__ import annotations

import codecs
import csv
import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ingestion.formats.format import Dialect, Format, Sample
from ingestion.refusal import Refused, printable
from ingestion.register import Silo, silos

_SAMPLE_BYTES = 256 * 1024
_SAMPLE_LINES = 50
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_NAMED_AT_MOST = 5
_VALUE = re.compile(r"[-+]?\d[\d.,:/ TZ+-]*$")  # a number or a time: no name of a column
# a byte order mark, empty lines, and the line by which a spreadsheet is told the delimiter
_BEFORE = re.compile(rb"(?:%b)?(?:\r?\n)*(?:sep=[^\r\n]\r?\n(?:\r?\n)*)?" % codecs.BOM_UTF8, re.IGNORECASE)


def beginning(text: bytes) -> int:
    """Where the header, or the first record, of an opened delivery begins."""
    before = _BEFORE.match(text)
    return before.end() if before else 0


def sample(path: Path) -> Sample:
    """The first lines of an opened delivery (:mod:`ingestion.formats.opening`), from its :func:`beginning`."""
    with path.open("rb") as file:
        start = file.read(_SAMPLE_BYTES)
        whole = not file.read(1)
    skipped = beginning(start)
    lines = start[skipped:].split(b"\n")
    if not whole and len(lines) > 1:
        lines.pop()  # cut short
    texts = [line.removesuffix(b"\r").decode("utf-8", "replace").replace("\r", " ") for line in lines]
    return Sample(tuple(texts[:_SAMPLE_LINES]), first=start.count(b"\n", 0, skipped) + 1)


def folded(name: str) -> str:
    """A column's name without what senders' programs change in it: case and blanks."""
    return " ".join(name.split()).casefold()


def spelled_as(format: Format, found: Sequence[str]) -> tuple[str, ...]:  # noqa: A002
    """The column names ``found``, spelled as ``format`` spells those that it reads."""
    known = {folded(column): column for column in (*format.required, *format.optional) if column not in found}
    return tuple(known.get(folded(name), name) for name in found)


def header(sample: Sample, dialect: Dialect) -> tuple[str, ...]:
    """The column names the sample starts with as ``dialect`` splits them, without the blanks around them."""
    if dialect.quote is None:
        line = sample.lines[0] if sample.lines else ""
        fields: Sequence[str] = [re.sub(r'^"(.*)"$', r"\1", field) for field in line.split(dialect.delimiter)]
    else:
        lines = (line + "\n" for line in sample.lines)
        try:
            fields = next(csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quote), ())
        except csv.Error:  # a field of more than 128 KiB: no column name
            fields = ()
    return tuple(field.strip() for field in fields)


def header_has(dialect: Dialect, required: Iterable[str]) -> Callable[[Sample], bool]:
    """The usual ``Format.recognise``: true when the header line, read in ``dialect``, has every ``required`` column."""
    columns = frozenset(map(folded, required))

    def recognise(sample: Sample) -> bool:
        return columns <= frozenset(map(folded, header(sample, dialect)))

    return recognise


def recognise(silo: Silo, sample: Sample, file: str) -> Format:
    """The one format of ``silo`` that explains ``sample``, the beginning of the delivery called ``file``.

    Raises:
        Refused: no format explains it, or several do equally well, or the format forbids such a header. The sentence
            says what comes nearest: another silo's format, a renamed or missing column, another delimiter.
    """
    matching = [candidate for candidate in silo.formats if candidate.recognise(sample)]
    most_specific = [
        candidate
        for candidate in matching
        if all(other is candidate or set(other.required) < set(candidate.required) for other in matching)
    ]
    if matching and not most_specific:
        names = ", ".join(dict.fromkeys(candidate.name for candidate in matching))
        problem = f"its content fits several formats of {silo.name}: {names}"
        raise Refused("format_ambiguous", file, problem, "Deliver it again and name the format (--format)")
    if not most_specific:
        raise _explained(silo, sample, file)
    forbidden = _forbidden(silo, most_specific, sample, file)
    if forbidden is not None:
        raise forbidden
    return most_specific[0]


def named(silo: Silo, name: str, sample: Sample, file: str) -> Format:
    """The format of ``silo`` called ``name``, provided that ``sample`` is in it.

    Raises:
        Refused: the silo has no such format, or the delivery called ``file`` is not in it, or the format forbids it.
    """
    try:
        chosen = silo.format(name, sample)
    except KeyError as unknown:
        raise Refused("format_unknown", file, str(unknown.args[0]), "Name one of these") from None
    layouts = [candidate for candidate in silo.formats if candidate.name == name]
    forbidden = _forbidden(silo, layouts, sample, file)
    if forbidden is not None:
        raise forbidden
    if not chosen.recognise(sample):
        raise _almost(layouts, sample, file) or Refused(
            "format_mismatch",
            file,
            f"it was delivered as {name}, but its content is not in that format",
            "Check the file, or deliver it again without naming a format",
        )
    return chosen


def missing_columns(format: Format, found: Sequence[str], file: str) -> Refused | None:  # noqa: A002
    """A refusal that names the required columns not ``found`` in the header, and their likely new names; or None."""
    missing = [column for column in format.required if column not in found]
    if not missing:
        return None
    spare = {name.casefold(): name for name in found if name and name not in {*format.required, *format.optional}}
    said = []
    for column in missing[:_NAMED_AT_MOST]:
        near = difflib.get_close_matches(column.casefold(), spare, n=1)
        hint = f" (is '{printable(spare[near[0]])}' its new name?)" if near else ""
        said.append(f"'{column}'{hint}")
    more = f" and {len(missing) - _NAMED_AT_MOST} more" if len(missing) > _NAMED_AT_MOST else ""
    noun, verb = ("column", "is") if len(missing) == 1 else ("columns", "are")
    problem = f"{noun} {', '.join(said)}{more} of format {format.name} {verb} missing (its header has {len(found):,})"
    return Refused("columns_missing", file, problem, "Restore the names of the columns and deliver the file again")


def _forbidden(silo: Silo, formats: Iterable[Format], sample: Sample, file: str) -> Refused | None:
    """The refusal of a header that one of ``formats`` forbids, or None."""
    for candidate in formats:
        rule = candidate.forbidden(header(sample, candidate.dialect)) if candidate.forbidden else None
        if rule is not None:
            problem = f"its columns break the rule {rule}"
            return Refused(rule, file, problem, silo.rules.get(rule, "See the rules of the silo").rstrip("."))
    return None


def _explained(silo: Silo, sample: Sample, file: str) -> Refused:
    """Why no format of ``silo`` fits, in the most helpful terms that are true."""
    for other in silos().values():
        for candidate in other.formats:
            if other.name != silo.name and candidate.recognise(sample):
                problem = f"this looks like format {candidate.name} of silo {other.name}, not like {silo.name}"
                return Refused("wrong_silo", file, problem, f"Deliver it to {other.name} (--silo {other.name})")
    specific = _forbidden(silo, silo.formats, sample, file) or _almost(silo.formats, sample, file)
    if specific is not None:
        return specific
    line = sample.lines[0] if sample.lines else ""
    looks = {"<": ", it looks like a web page or XML", "{": ", it looks like JSON", "[": ", it looks like JSON"}
    delimiter = max(_DELIMITERS, key=line.count)
    columns = f"{line.count(delimiter) + 1} columns separated by {_DELIMITERS[delimiter]}"
    seen = f"line {sample.first} has {columns if delimiter in line else 'one column'}"
    near = _best(silo.formats, sample)
    if near is not None:
        known = ", ".join(f"'{column}'" for column in near.present[:_NAMED_AT_MOST])
        seen += f", of which format {near.format.name} knows {known}"
    problem = f"no format of silo {silo.name} explains its first lines{looks.get(line.lstrip()[:1], '')}: {seen}"
    names = ", ".join(dict.fromkeys(candidate.name for candidate in silo.formats))
    remedy = f"Export it again in one of the accepted formats ({names}); docs/formats.md says how another one is added"
    return Refused("format_unknown", file, problem, remedy)


def _almost(formats: Sequence[Format], sample: Sample, file: str) -> Refused | None:
    """A refusal that says what keeps ``sample`` from being in one of ``formats``, or None when it is in none."""
    return (
        _header_below(formats, sample, file)
        or _nearest(formats, sample, file)
        or _header_missing(formats, sample, file)
    )


def _header_below(formats: Iterable[Format], sample: Sample, file: str) -> Refused | None:
    """A refusal of a header that other lines, such as titles, stand above, or None."""
    with_header = [candidate for candidate in formats if candidate.dialect.columns is None]
    for above in range(1, len(sample.lines)):
        for candidate in with_header:
            if candidate.recognise(Sample(sample.lines[above:])):
                problem = f"the header of format {candidate.name} is on line {sample.first + above}, other lines first"
                return Refused("header_not_first", file, problem, "Remove the lines above it, and deliver it again")
    return None


def _header_missing(formats: Iterable[Format], sample: Sample, file: str) -> Refused | None:
    """A refusal of records without the header that their format has, or None: values under as many columns."""
    for candidate in formats:
        fields = header(sample, candidate.dialect)
        counts = {len(candidate.layout), len(candidate.layout) + len(candidate.optional)}
        if candidate.layout and len(fields) in counts and any(map(_VALUE.match, fields)):
            written = f"{_DELIMITERS[candidate.dialect.delimiter].removesuffix('s')}-separated"
            problem = f"{len(fields)} {written} columns without a header look like {candidate.name}"
            remedy = "Export it again with the names of the columns in the first line, as docs/formats.md has them"
            return Refused("header_missing", file, problem, remedy)
    return None


class _Near(NamedTuple):
    """A format that a header comes near to: how much of it is there (0 to 1), and which of its columns."""

    share: float
    format: Format
    dialect: Dialect
    present: list[str]


def _best(formats: Iterable[Format], sample: Sample) -> _Near | None:
    """The format that comes nearest to the header, in whatever delimiter; None when none knows any of its names.

    A name that few formats have says more than one that many have, such as a date.
    """
    users = Counter(folded(name) for silo in silos().values() for each in silo.formats for name in set(each.required))
    near: list[_Near] = []
    for candidate in formats:
        if candidate.dialect.columns is not None:
            continue
        weights = {name: 1 / max(users[folded(name)], 1) for name in candidate.required}
        others = (replace(candidate.dialect, delimiter=delimiter) for delimiter in _DELIMITERS)
        for dialect in (candidate.dialect, *others):
            found = spelled_as(candidate, header(sample, dialect))
            present = [name for name in candidate.required if name in found]
            share = sum(weights[name] for name in present) / sum(weights.values())
            near.append(_Near(share, candidate, dialect, present))
    best = max(near, key=lambda each: each.share, default=None)  # the first of equals
    return best if best is not None and best.present else None


def _nearest(formats: Iterable[Format], sample: Sample, file: str) -> Refused | None:
    """A refusal about the format that comes nearest to the header, or None when none has half of what it tells."""
    best = _best(formats, sample)
    if best is None or best.share < 0.5:
        return None
    chosen = best.format
    missing = missing_columns(chosen, spelled_as(chosen, header(sample, best.dialect)), file)
    if missing is None and best.dialect.delimiter != chosen.dialect.delimiter:
        wanted = _DELIMITERS.get(chosen.dialect.delimiter, repr(chosen.dialect.delimiter))
        problem = f"it has the columns of format {chosen.name}, but separated by {_DELIMITERS[best.dialect.delimiter]}"
        return Refused("format_mismatch", file, problem, f"Export it again with {wanted} between columns")
    return missing
