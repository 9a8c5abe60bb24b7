"""Which format a delivery is in, judged from its first lines; and, when none fits, what a person should do about it."""

from __future__ import annotations

import codecs
import csv
import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ingestion.refusal import Refused, printable
from ingestion.register import Dialect, Format, Sample, Silo, silos

_SAMPLE_BYTES = 256 * 1024
_SAMPLE_LINES = 50
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_NAMED_AT_MOST = 5


def sample(path: Path) -> Sample:
    """The first lines of an opened delivery (:mod:`ingestion.opening`), from the first that is not empty."""
    with path.open("rb") as file:
        start = file.read(_SAMPLE_BYTES).removeprefix(codecs.BOM_UTF8)
        whole = not file.read(1)
    lines = start.split(b"\n")
    if not whole and len(lines) > 1:
        lines.pop()  # cut short
    texts = [line.removesuffix(b"\r").decode("utf-8", "replace").replace("\r", " ") for line in lines]
    while texts and not texts[0]:
        texts.pop(0)
    return Sample(lines=tuple(texts[:_SAMPLE_LINES]))


def header(sample: Sample, dialect: Dialect) -> tuple[str, ...]:
    """The column names the sample starts with as ``dialect`` splits them, without the blanks around them."""
    if dialect.quote is None:
        fields: Sequence[str] = sample.lines[0].split(dialect.delimiter) if sample.lines else ()
    else:
        lines = (line + "\n" for line in sample.lines)
        try:
            fields = next(csv.reader(lines, delimiter=dialect.delimiter, quotechar=dialect.quote), ())
        except csv.Error:  # a field of more than 128 KiB: no column name
            fields = ()
    return tuple(field.strip() for field in fields)


def header_has(dialect: Dialect, required: Iterable[str]) -> Callable[[Sample], bool]:
    """The usual ``Format.recognise``: true when the header line, read in ``dialect``, has every ``required`` column."""
    columns = frozenset(required)

    def recognise(sample: Sample) -> bool:
        return columns <= frozenset(header(sample, dialect))

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
        raise _nearest(layouts, sample, file) or Refused(
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
    problem = f"{noun} {', '.join(said)}{more} of format {format.name} {verb} missing"
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
    specific = _forbidden(silo, silo.formats, sample, file) or _nearest(silo.formats, sample, file)
    if specific is not None:
        return specific
    start = sample.lines[0].lstrip()[:1] if sample.lines else ""
    looks = {"<": ", it looks like a web page or XML", "{": ", it looks like JSON", "[": ", it looks like JSON"}
    names = ", ".join(dict.fromkeys(candidate.name for candidate in silo.formats))
    problem = f"no format of silo {silo.name} explains its first lines{looks.get(start, '')}"
    return Refused("format_unknown", file, problem, f"Export it again in one of the accepted formats: {names}")


def _nearest(formats: Iterable[Format], sample: Sample, file: str) -> Refused | None:
    """A refusal about the format with most of its columns in the header, or None when none has half of them."""
    best: tuple[float, Format, Dialect] | None = None
    for candidate in formats:
        if candidate.dialect.columns is not None:
            continue
        others = (replace(candidate.dialect, delimiter=delimiter) for delimiter in _DELIMITERS)
        for dialect in (candidate.dialect, *others):
            present = len(set(candidate.required) & set(header(sample, dialect))) / len(candidate.required)
            if present >= 0.5 and (best is None or present > best[0]):
                best = (present, candidate, dialect)
    if best is None:
        return None
    _, chosen, dialect = best
    missing = missing_columns(chosen, header(sample, dialect), file)
    if missing is None and dialect.delimiter != chosen.dialect.delimiter:
        wanted = _DELIMITERS.get(chosen.dialect.delimiter, repr(chosen.dialect.delimiter))
        problem = f"it has the columns of format {chosen.name}, but separated by {_DELIMITERS[dialect.delimiter]}"
        return Refused("format_mismatch", file, problem, f"Export it again with {wanted} between columns")
    return missing
