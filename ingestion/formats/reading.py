"""From a plain text file to batches of source columns, every record accounted for.

A record is a line, or several when a quoted field contains line ends; an empty line is none. A record is **malformed**
when it has not as many fields as the header, or when its quotes are wrong: it becomes a reject and keeps its number, so
that the records after it keep theirs.

The text is cut into blocks that end where a record ends, and each is parsed by whatever reads it exactly:

- Polars, when no quote is in sight: it is fastest, but fills short records and cuts long ones without a word, so the
  delimiters are counted beforehand;
- Arrow otherwise: it counts the fields of every record. What it forgives is looked for beforehand: text after a closing
  quote, and a quote that nothing closes, which would swallow the records after it. A block with either is sorted record
  by record; there, a record that cannot be read whole is given up at the end of its first line, so that a stray quote
  costs one record.

What programs write for nothing (:data:`NOTHING`) is null in every column, and so are fields that a record leaves out at
its end where the format lets them be blank. Not in the last line of a file that does not end it: it may have been cut.
"""

from __future__ import annotations

import codecs
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pyarrow import csv

from ingestion.contracts.checking import no_rejects, reject
from ingestion.formats.format import Dialect, Format
from ingestion.formats.opening import Limits
from ingestion.formats.recognition import beginning, header, missing_columns, sample, spelled_as
from ingestion.refusal import Refused, printable

MALFORMED = "row_malformed"
"""The rule of a record that has the wrong number of fields, or wrong quotes."""

NOTHING = (
    *("NULL", "null", "Null", "(null)", "<null>", "\\N", "None", "NaN", "nan", "<NA>"),
    *("NA", "na", "N/A", "n/a", "N.A.", "n.a.", "#N/A", "#N/D", "NC", "nc", "N.C.", "n.c.", "-", "--"),
)
"""What databases, spreadsheets (``#N/D``: Excel in French) and programs write where there is no value."""

BATCH_ROWS = 2**18
_BLOCK_BYTES = 2**22
_PARSERS = 2
_TAIL_BYTES = 2**10
_NAME = "column_{}"  # of a position; the only names Polars accepts for columns without a header
_NONE = np.array([], np.int64)
_BARE_CR = re.compile(rb"\r(?!\n)")


@dataclass(frozen=True)
class Batch:
    """Consecutive records of a delivery.

    ``frame`` has ``row``, the record's number in the delivery (1 for the first record after the header), and the
    format's required columns and those optional ones that are present, as delivered: strings, null where empty.
    ``rejects`` (:data:`ingestion.contracts.checking.REJECTS`) lists the malformed records. Each record is in exactly
    one of them.
    """

    frame: pl.DataFrame
    rejects: pl.DataFrame

    @property
    def rows(self) -> int:
        """How many records this is, malformed ones included."""
        return self.frame.height + self.rejects.height


def read_batches(
    path: Path,
    format: Format,  # noqa: A002 - its name everywhere else
    *,
    name: str | None = None,
    batch_rows: int = BATCH_ROWS,
    block_bytes: int = _BLOCK_BYTES,
    limits: Limits | None = None,
) -> Iterator[Batch]:
    """The records of ``path`` (see :func:`ingestion.formats.opening.open_delivery`), ``batch_rows`` at a time, in
    order.

    ``name`` is what the delivery is called in refusals. Memory depends on ``batch_rows`` and ``block_bytes``, not on
    the size of the file; the result depends on neither. A delivery with a header and nothing else has no batch.

    Raises:
        Refused: the header lacks a required column, repeats one that is read, or is beyond the limits; at once, before
            the first batch is asked for.
    """
    limits = limits or Limits()
    layout = _layout(path, format, name or path.name, limits)
    record_bytes = 3 * limits.line_bytes + 2  # a line may grow threefold when it is converted; and its end
    return _batches(path, layout, batch_rows, _Cutter(layout, block_bytes, record_bytes))


class _Layout(NamedTuple):
    """How the records of one file are written, and which of their fields are wanted."""

    dialect: Dialect
    start: int  # where the first record starts, in bytes
    end: int  # of the last one
    fields: int  # of every record
    least: int  # fields that a record must have: those after them may be blank, or are not read
    wanted: dict[str, int]  # source column -> position


def _layout(path: Path, format: Format, name: str, limits: Limits) -> _Layout:  # noqa: A002
    dialect = format.dialect
    with path.open("rb") as file:
        start = file.read(limits.line_bytes + len(codecs.BOM_UTF8) + 2)
        end = _end(file)
    offset = beginning(start)
    columns: Sequence[str]
    if dialect.columns is not None:
        columns = dialect.columns
    else:
        columns = spelled_as(format, header(sample(path), dialect))
        offset = _after_first_record(start, offset, dialect)
    if len(columns) > limits.columns:
        problem = f"its header has {len(columns):,} columns, the most any format may have is {limits.columns:,}"
        raise Refused("too_many_columns", name, problem, "Export only the columns of the format")
    missing = missing_columns(format, columns, name)
    if missing is not None:
        raise missing
    wanted = [column for column in (*format.required, *format.optional) if column in columns]
    for column in wanted:
        if columns.count(column) > 1:
            problem = f"its header has the column '{printable(column)}' {columns.count(column)} times"
            raise Refused("columns_repeated", name, problem, "Keep the right one, and deliver the file again")
    positions = {column: columns.index(column) for column in wanted}
    least = 1 + max(position for column, position in positions.items() if column not in format.may_be_blank)
    return _Layout(dialect, offset, end, len(columns), least, positions)


def _end(file: BinaryIO) -> int:
    """Where the text of ``file`` ends: before the Ctrl-Z by which old programs end a file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    text = tail.rstrip(b"\r\n\x1a")
    marked = tail.find(b"\x1a", len(text))
    return size if marked < 0 else size - len(tail) + marked


def _after_first_record(text: bytes, offset: int, dialect: Dialect) -> int:
    """Where the record after the first one starts."""
    whole = _record_pattern(dialect).match(text, offset)
    if whole:
        return whole.end()
    end = text.find(b"\n", offset)
    return end + 1 if end >= 0 else len(text)


def _record_pattern(dialect: Dialect, least: int | None = None, most: int = 0) -> re.Pattern[bytes]:
    """A well-formed record, line end included; of so many fields, when given."""
    delimiter = re.escape(dialect.delimiter.encode())
    field = b"[^%b\\n]*+" % delimiter
    if dialect.quote is not None:
        quote = re.escape(dialect.quote.encode())
        field = b"(?:%b[^%b]*+(?:%b%b[^%b]*+)*+%b|(?!%b)%b)" % (*(quote,) * 7, field)
    times = b"*+" if least is None else b"{%d,%d}" % (least - 1, most - 1)
    return re.compile(b"%b(?:%b%b)%b\\r?\\n" % (field, delimiter, field, times))


class _Block(NamedTuple):
    """Some whole records. ``malformed``, where the block was sorted, has the numbers (from 1) of those left out."""

    start: int
    end: int
    text: bytes
    quoted: bool
    malformed: npt.NDArray[np.int64] | None = None


class _Parsed(NamedTuple):
    """``frame`` and ``malformed`` count records from 1; ``swallowed``: a malformed one may contain others."""

    frame: pl.DataFrame
    malformed: npt.NDArray[np.int64]
    swallowed: bool


class _Cutter:
    """Cuts a file into blocks. Where a block ends depends on where it starts only, so any block can be cut again."""

    def __init__(self, layout: _Layout, block_bytes: int, record_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._record_bytes = record_bytes
        self._quote = (layout.dialect.quote or "").encode()
        self._delimiter = layout.dialect.delimiter.encode()
        self._layout = layout
        self._record = _record_pattern(layout.dialect, layout.least, layout.fields)
        self._may_precede = np.zeros(256, np.bool_)  # a quote that opens, by the byte before
        self._may_precede[list(b"\n" + self._delimiter)] = True
        self._may_follow = self._may_precede.copy()  # a quote that closes, by the byte after
        self._may_follow[ord("\r")] = True

    def cut(self, file: BinaryIO, start: int) -> _Block | None:
        """The block at ``start``, or None at the end of the file."""
        size = self._block_bytes
        text, last = _read(file, start, size, self._layout)
        while b"\n" not in text and not last:
            size *= 2
            text, last = _read(file, start, size, self._layout)
        text = text[: text.rfind(b"\n") + 1]
        if not text:
            return None
        quoted = bool(self._quote) and self._quote in text
        if quoted:
            end = self._well_quoted(text)
            if not end:
                return self.sort(file, start)
            text = text[:end]
        return _Block(start, start + len(text), text, quoted)

    def sort(self, file: BinaryIO, start: int) -> _Block:
        """The block at ``start``, record by record, without those that cannot be read whole."""
        text, last = _read(file, start, self._block_bytes + self._record_bytes, self._layout)
        horizon = len(text) if last else self._block_bytes  # a record that starts before it is seen whole
        kept: list[bytes] = []
        malformed: list[int] = []
        number = position = 0
        while position < horizon:
            whole = self._record.match(text, position, position + self._record_bytes)
            end = whole.end() if whole else text.index(b"\n", position) + 1
            record = text[position:end]
            position = end
            if record in {b"\n", b"\r\n"}:
                continue
            number += 1
            if whole:
                kept.append(record)
            else:
                malformed.append(number)
        return _Block(start, start + position, b"".join(kept), True, np.array(malformed, np.int64))

    def _well_quoted(self, text: bytes) -> int:
        """Where to end so that every quote opens or closes a whole field; 0 when some quote does neither."""
        data = np.frombuffer(text, np.uint8)
        quotes = np.flatnonzero(data == ord(self._quote))
        end = len(text)
        if len(quotes) % 2:  # perhaps a field that goes on in the next block
            end = text.rfind(b"\n", 0, int(quotes[-1])) + 1
            quotes = quotes[: np.searchsorted(quotes, end)]
            if len(quotes) % 2:
                return 0
        opening, closing = quotes[0::2], quotes[1::2]
        doubled = closing[:-1] + 1 == opening[1:]
        before = self._may_precede[data[opening - 1]] | (opening == 0)
        before[1:] |= doubled
        after = self._may_follow[data[closing + 1]]
        after[:-1] |= doubled
        return end if before.all() and after.all() else 0


def _read(file: BinaryIO, start: int, size: int, layout: _Layout) -> tuple[bytes, bool]:
    """At most ``size`` bytes from ``start``, and whether they are the last ones; these always end their line."""
    file.seek(start)
    text = file.read(max(0, min(size, layout.end - start)))
    last = len(text) < size
    if last and text and not text.endswith(b"\n"):
        delimiter, line = layout.dialect.delimiter.encode(), text[text.rfind(b"\n") + 1 :]
        if (
            line != b"\r"
            and line.count(delimiter) < layout.fields - 1
            and (layout.dialect.quote or "\0").encode() not in line
        ):
            text += delimiter * layout.fields  # too many: it may have been cut, and must not pass for a short record
        text += b"\n"
    if b"\r" in text:
        text = _BARE_CR.sub(b" ", text)  # within a record, where Arrow would see the end of a line
    return text, last


def _batches(path: Path, layout: _Layout, batch_rows: int, cutter: _Cutter) -> Iterator[Batch]:
    """Collect the parsed blocks into batches of exactly ``batch_rows`` records, the last one apart."""
    frames: list[pl.DataFrame] = []
    malformed: list[npt.NDArray[np.int64]] = []
    numbered = batched = 0
    for parsed in _parse_all(path, layout, cutter):
        frames.append(parsed.frame.with_columns(pl.col("row") + numbered))
        malformed.append(parsed.malformed + numbered)
        numbered += parsed.frame.height + len(parsed.malformed)
        if numbered - batched < batch_rows:
            continue
        frame, bad = pl.concat(frames), np.concatenate(malformed)
        while numbered - batched >= batch_rows:
            batched += batch_rows
            rows, rejected = frame["row"].search_sorted(batched, "right"), int(np.searchsorted(bad, batched, "right"))
            yield _batch(frame[:rows], bad[:rejected])
            frame, bad = frame[rows:], bad[rejected:]
        frames, malformed = [frame], [bad]
    if numbered > batched:
        yield _batch(pl.concat(frames), np.concatenate(malformed))


def _batch(frame: pl.DataFrame, malformed: npt.NDArray[np.int64]) -> Batch:
    rejects = reject(pl.Series(malformed, dtype=pl.Int64), MALFORMED) if len(malformed) else no_rejects()
    return Batch(frame, rejects)


def _parse_all(path: Path, layout: _Layout, cutter: _Cutter) -> Iterator[_Parsed]:
    """Parse block after block, a few at a time, in order."""
    queue: deque[tuple[_Block, Future[_Parsed]]] = deque()
    position = layout.start
    with path.open("rb") as file, ThreadPoolExecutor(_PARSERS) as parsers:
        while True:
            while len(queue) <= _PARSERS and (block := cutter.cut(file, position)) is not None:
                queue.append((block, parsers.submit(_parse, block, layout)))
                position = block.end
            if not queue:
                return
            block, future = queue.popleft()
            parsed = future.result()
            if parsed.swallowed:  # its end is not to be trusted, nor what was cut after it
                for _, needless in queue:
                    needless.cancel()
                queue.clear()
                block = cutter.sort(file, block.start)
                position = block.end
                parsed = _parse(block, layout)
            yield parsed


def _parse(block: _Block, layout: _Layout) -> _Parsed:
    swallowed = False
    if block.quoted or block.text.startswith(codecs.BOM_UTF8) or layout.fields == 1:
        # a byte order mark in the middle of the file: Polars would drop it
        frame, malformed, swallowed = _parse_with_arrow(block.text, layout)
        if block.malformed is not None:
            malformed = block.malformed
    elif _regular(block.text, layout):
        frame, malformed = _parse_with_polars(block.text, layout), _NONE
    else:
        text, malformed = _readable(block.text, layout)
        whole = layout.dialect.delimiter.encode() * (layout.fields - 1) + b"\n"  # else Polars expects as few fields as
        frame = _parse_with_polars(whole + text, layout)[1:]  # the first record has
    if layout.dialect.quote is None and b'"' in block.text:
        frame = frame.select(map(_unquoted, layout.wanted))
    found = frame.select(pl.all().is_in(NOTHING).any()).row(0)
    blank = [pl.col(name) for name, any_blank in zip(layout.wanted, found, strict=True) if any_blank]
    frame = frame.with_columns(pl.when(~column.is_in(NOTHING)).then(column) for column in blank)
    return _Parsed(_numbered(frame, malformed), malformed, swallowed)


def _numbered(frame: pl.DataFrame, malformed: npt.NDArray[np.int64]) -> pl.DataFrame:
    """``frame`` with the numbers, from 1, that are not those of malformed records."""
    numbers = np.delete(np.arange(1, frame.height + len(malformed) + 1), malformed - 1)
    return frame.insert_column(0, pl.Series("row", numbers, pl.Int64))


def _regular(text: bytes, layout: _Layout) -> bool:
    """Whether every line of ``text``, which has no quotes, has as many fields as it must."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data == ord("\n"))
    delimiters = data == ord(layout.dialect.delimiter)
    wanted = layout.fields - 1
    # sums are modulo 256: with the right total, and fewer wanted than that, none can be wrong by a multiple of it
    if not 0 < wanted < 256 or np.count_nonzero(delimiters) != wanted * len(ends):
        return False
    starts = np.concatenate(([0], ends[:-1] + 1))
    return bool((np.add.reduceat(delimiters.view(np.uint8), starts, dtype=np.uint8) == wanted).all())


def _readable(text: bytes, layout: _Layout) -> tuple[bytes, npt.NDArray[np.int64]]:
    """``text``, which has no quotes, without the lines that are no record, and the numbers of the malformed ones."""
    data = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(data == ord("\n")) + 1
    starts = np.concatenate(([0], ends[:-1]))
    delimiters = np.add.reduceat((data == ord(layout.dialect.delimiter)).astype(np.int64), starts)
    empty = (ends - starts == 1) | ((ends - starts == 2) & (data[starts] == ord("\r")))
    good = ~empty & (delimiters >= layout.least - 1) & (delimiters < layout.fields)
    malformed = np.flatnonzero(~good[~empty]) + 1
    return data[np.repeat(good, ends - starts)].tobytes(), malformed


def _parse_with_polars(text: bytes, layout: _Layout) -> pl.DataFrame:
    wanted = [_NAME.format(position) for position in layout.wanted.values()]
    frame = pl.read_csv(
        text,
        has_header=False,
        separator=layout.dialect.delimiter,
        quote_char=None,
        schema=dict.fromkeys(map(_NAME.format, range(layout.fields)), pl.String),
        columns=wanted,
    )
    return frame.select(pl.col(name).alias(column) for name, column in zip(wanted, layout.wanted, strict=True))


def _unquoted(column: str) -> pl.Expr:
    """The values of a column without the quotes around a whole one."""
    value = pl.col(column)
    inside = value.str.slice(1, value.str.len_chars() - 2).str.replace_all('""', '"', literal=True)
    quoted = value.str.contains('(?s)^".*"$')
    return pl.when(~quoted).then(value).when(inside != "").then(inside).alias(column)


def _parse_with_arrow(text: bytes, layout: _Layout) -> tuple[pl.DataFrame, npt.NDArray[np.int64], bool]:
    """The well-formed records, the numbers of the others, and whether one of those spans lines."""
    invalid: list[int] = []
    short: dict[int, str] = {}  # well-formed records of fewer fields, by number
    swallowed = False

    def note(row: csv.InvalidRow) -> str:
        nonlocal swallowed
        if layout.least <= row.actual_columns < layout.fields:
            short[row.number] = row.text.rstrip("\r\n") + layout.dialect.delimiter * (
                layout.fields - row.actual_columns
            )
        else:
            invalid.append(row.number)
            swallowed = swallowed or "\n" in row.text
        return "skip"

    if not text.strip(b"\r\n"):
        return pl.DataFrame(schema=dict.fromkeys(layout.wanted, pl.String)), _NONE, False
    wanted = [_NAME.format(position) for position in layout.wanted.values()]
    table = csv.read_csv(
        pa.BufferReader(b"\n" + text),  # an empty line first, or it would take a byte order mark out of the first field
        csv.ReadOptions(
            column_names=list(map(_NAME.format, range(layout.fields))),
            block_size=len(text) + 2,  # one piece: it was cut where a record ends
            use_threads=False,
        ),
        csv.ParseOptions(
            delimiter=layout.dialect.delimiter,
            quote_char=layout.dialect.quote or False,
            invalid_row_handler=note,
        ),
        csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, pa.string()),
            include_columns=wanted,
            strings_can_be_null=True,
            null_values=[""],
            check_utf8=False,  # opening did
        ),
    )
    frame = pl.from_arrow(table.rename_columns(list(layout.wanted)))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table gives one
    malformed = np.array(invalid, np.int64)
    if short:
        filled, _, _ = _parse_with_arrow("\n".join([*short.values(), ""]).encode(), layout)
        others = np.concatenate([malformed, np.fromiter(short, np.int64)])
        numbers = pl.Series("row", list(short), pl.Int64)
        both = pl.concat([_numbered(frame, np.sort(others)), filled.insert_column(0, numbers)])
        frame = both.sort("row").drop("row")
    return frame, malformed, swallowed
