"""Reading gives back exactly what was written: every record and its number, whatever the size of batches."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion.contracts.checking import REJECTS
from ingestion.formats.format import Dialect, Format
from ingestion.formats.opening import Limits, open_delivery
from ingestion.formats.reading import MALFORMED, NOTHING, Batch, read_batches
from ingestion.formats.recognition import header_has
from ingestion.refusal import Refused

SEMICOLON = Dialect(";")


def fmt(
    dialect: Dialect = SEMICOLON,
    required: tuple[str, ...] = ("a", "b", "c"),
    optional: tuple[str, ...] = (),
    may_be_blank: tuple[str, ...] = (),
) -> Format:
    return Format(
        name="essai",
        title="Essai",
        dataset="essai",
        dialect=dialect,
        required=required,
        recognise=header_has(dialect, required),
        to_delivered=lambda frame: frame,
        optional=optional,
        may_be_blank=may_be_blank,
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write_bytes(content: bytes) -> Path:
        path = tmp_path / "f.csv"
        path.write_bytes(content)
        return path

    return write_bytes


def rows(batches: Iterator[Batch]) -> tuple[list[tuple[object, ...]], list[int]]:
    """All rows and the numbers of all malformed records, having checked the shape of each batch."""
    good: list[tuple[object, ...]] = []
    bad: list[int] = []
    for batch in batches:
        assert batch.rejects.schema == REJECTS
        assert set(batch.rejects["rule"]) <= {MALFORMED}
        assert batch.rows == batch.frame.height + batch.rejects.height > 0
        good += batch.frame.rows()
        bad += batch.rejects["row"].to_list()
    return good, bad


# ---- by example


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("1;2;3\n4;5;6\n", [(1, "1", "2", "3"), (2, "4", "5", "6")], []),
        ("1;2;3\n4;5;6", [(1, "1", "2", "3"), (2, "4", "5", "6")], []),
        ("1;2;3\r\n4;5;6\r\n", [(1, "1", "2", "3"), (2, "4", "5", "6")], []),
        ("\n1;2;3\n\r\n\n4;5;6\n\n", [(1, "1", "2", "3"), (2, "4", "5", "6")], []),
        (";;\n 1 ;\"\";''\n", [(1, None, None, None), (2, " 1 ", None, "''")], []),
        ("1;2\n4;5;6\n1;2;3;4\n7;8;9\n", [(2, "4", "5", "6"), (4, "7", "8", "9")], [1, 3]),
        ("1;2\n1;2;3;4\n", [], [1, 2]),
        ("1;2;3;\n4;5;6\n", [(2, "4", "5", "6")], [1]),
        ("4;5;6\n1;2", [(1, "4", "5", "6")], [2]),
        ('4;5;6\n1;2;"x', [(1, "4", "5", "6")], [2]),
        ('"1";"a;b\nc";"say ""hi"""\n4;5;6\n', [(1, "1", "a;b\nc", 'say "hi"'), (2, "4", "5", "6")], []),
        ('1;"2;3\n4;5;6\n7;8;9\n', [(2, "4", "5", "6"), (3, "7", "8", "9")], [1]),
        ('1;"2;3\n4;"5";6\n7;8;9\n', [(2, "4", "5", "6"), (3, "7", "8", "9")], [1]),
        ('1;"2"x;3\n4;5;6\n', [(2, "4", "5", "6")], [1]),
        ('1;"2\n3"\n4;5;6\n', [(3, "4", "5", "6")], [1, 2]),
        ('1;2";3\n4;5"5;"6"\n', [(1, "1", '2"', "3"), (2, "4", '5"5', "6")], []),
        ("1;2\rx;3\n4;5;6\n", [(1, "1", "2 x", "3"), (2, "4", "5", "6")], []),
        ("\ufeff1;2;3\n", [(1, "\ufeff1", "2", "3")], []),
        ('\ufeff1;2;"3"\n', [(1, "\ufeff1", "2", "3")], []),
    ],
)
def test_reads(write: Callable[[bytes], Path], text: str, good: list[tuple[object, ...]], bad: list[int]) -> None:
    path = write(b"a;b;c\n" + text.encode())
    assert rows(read_batches(path, fmt())) == (good, bad)
    headless = Dialect(";", columns=("a", "b", "c"))
    assert rows(read_batches(write(text.encode()), fmt(headless)))[1] == bad


def test_without_quotes_a_quote_is_a_character_but_around_a_whole_value(write: Callable[[bytes], Path]) -> None:
    path = write(b'a\t"b"\tc\n"1\t2"\t3\n4\t"5\n"7\t"8\t"9\n"43,2"\t"say ""hi"", you"\t""\n')
    good, bad = rows(read_batches(path, fmt(Dialect("\t", quote=None))))
    assert bad == [2]
    assert good == [(1, '"1', '2"', "3"), (3, '"7', '"8', '"9'), (4, "43,2", 'say "hi", you', None)]


@pytest.mark.parametrize("quote", ['"', None])
def test_words_for_nothing_are_blank_in_every_column(write: Callable[[bytes], Path], quote: str | None) -> None:
    lines = [f"{word};{word}x;3" for word in NOTHING] + [f'"{word}";{word}x;3' for word in NOTHING]
    good, bad = rows(read_batches(write("\n".join(["a;b;c", *lines, ""]).encode()), fmt(Dialect(";", quote))))
    expected = [(number, None, f"{word}x", "3") for number, word in enumerate((*NOTHING, *NOTHING), 1)]
    assert (good, bad) == (expected, [])


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        ("1;2\n1;2;3\n1\n1;2;3;4\n", [(1, "1", "2", None), (2, "1", "2", "3")], [3, 4]),
        ('"1";"2"\n1;2;3\n"1"\n"1";2;3;4\n', [(1, "1", "2", None), (2, "1", "2", "3")], [3, 4]),
        ('1;"2\n1;2\n1;2;3\n', [(2, "1", "2", None), (3, "1", "2", "3")], [1]),  # sorted record by record
        ("1;2\r\n\r\n1;2;3\r\n", [(1, "1", "2", None), (2, "1", "2", "3")], []),
        ("1;2;3\n1;2", [(1, "1", "2", "3")], [2]),  # perhaps cut
        ("1;2;3\n1;2;3", [(1, "1", "2", "3"), (2, "1", "2", "3")], []),
    ],
)
def test_fields_left_out_at_the_end_are_blank_where_they_may_be(
    write: Callable[[bytes], Path], text: str, good: list[tuple[object, ...]], bad: list[int]
) -> None:
    path = write(b"a;b;c\n" + text.encode())
    assert rows(read_batches(path, fmt(may_be_blank=("c",)))) == (good, bad)
    assert rows(read_batches(path, fmt(required=("a", "b"))))[1] == bad  # nor does it matter what is never read


@pytest.mark.parametrize("end", ["\x1a", "\n\x1a", "\r\n\x1a\r\n", "\n\x1a\x1a\n"])
@pytest.mark.parametrize("block_bytes", [4, 7, 2**22])
def test_a_final_control_z_ends_the_file(write: Callable[[bytes], Path], end: str, block_bytes: int) -> None:
    path = write(f"a;b;c\n1;2;3\n4;\x1a5;6{end}".encode())
    assert rows(read_batches(path, fmt(), block_bytes=block_bytes)) == (
        [(1, "1", "2", "3"), (2, "4", "\x1a5", "6")],
        [],
    )


@pytest.mark.parametrize("before", ["sep=;\n", "\ufeffsep=;\r\n", "\nSEP=,\n\n"])
def test_the_line_that_tells_a_spreadsheet_the_delimiter_is_none(write: Callable[[bytes], Path], before: str) -> None:
    path = write(f"{before}a;b;c\n1;2;3\n".encode())
    assert rows(read_batches(path, fmt())) == ([(1, "1", "2", "3")], [])
    headless = write(f"{before}1;2;3\n".encode())
    assert rows(read_batches(headless, fmt(Dialect(";", columns=("a", "b", "c"))))) == ([(1, "1", "2", "3")], [])


@pytest.mark.parametrize("header", ["A;B; c ", "\u00a0a;b;C", 'b;"A ";C;d'])
def test_columns_are_found_in_another_case_and_with_blanks(write: Callable[[bytes], Path], header: str) -> None:
    (batch,) = read_batches(write(f"{header}\n1;2;3{';4' * (header.count(';') - 2)}\n".encode()), fmt())
    assert batch.frame.columns == ["row", "a", "b", "c"]


def test_a_column_spelled_exactly_is_preferred(write: Callable[[bytes], Path]) -> None:
    assert rows(read_batches(write(b"A;a;b;c\n0;1;2;3\n"), fmt())) == ([(1, "1", "2", "3")], [])


def test_only_what_is_wanted_is_read(write: Callable[[bytes], Path]) -> None:
    path = write(b"\xef\xbb\xbf\r\n x ;c;secret;a;c2\r\n1;2;3;4;5\r\n")
    (batch,) = read_batches(path, fmt(required=("a", "c"), optional=("x", "absent")))
    assert batch.frame.to_dicts() == [{"row": 1, "a": "4", "c": "2", "x": "1"}]
    assert batch.frame.schema == {"row": pl.Int64, "a": pl.String, "c": pl.String, "x": pl.String}


@pytest.mark.parametrize(
    "header", [b"a;b;c", b"a;b;c\n", b"\xef\xbb\xbfa;b;c\r\n\r\n", b'"a";"b";"c"\n', b'"a\n";b;c\n']
)
def test_a_header_alone_is_no_batch(write: Callable[[bytes], Path], header: bytes) -> None:
    assert list(read_batches(write(header), fmt())) == []


def test_quoted_header_over_two_lines(write: Callable[[bytes], Path]) -> None:
    path = write(b'"long\nname";a;b;c\n1;2;3;4\n')
    assert rows(read_batches(path, fmt(required=("long\nname", "a")))) == ([(1, "1", "2")], [])


def test_one_column(write: Callable[[bytes], Path]) -> None:
    path = write(b'a\n1\n\n""\n2;3\n')
    assert rows(read_batches(path, fmt(required=("a",)))) == ([(1, "1"), (2, None)], [3])


@pytest.mark.parametrize(
    ("header", "rule", "says"),
    [
        ("a;b;d", "columns_missing", "column 'c' of format essai is missing"),
        ("a;b;c;b", "columns_repeated", "'b' 2 times"),
        (";".join(["a", "b", "c", *map(str, range(3000))]), "too_many_columns", "3,003 columns"),
    ],
)
def test_refuses_a_header_at_once(write: Callable[[bytes], Path], header: str, rule: str, says: str) -> None:
    with pytest.raises(Refused) as refusal:
        read_batches(write(header.encode() + b"\n1;2;3\n"), fmt(), name="livraison.csv")
    assert refusal.value.rule == rule
    assert str(refusal.value).startswith("livraison.csv: ")
    assert says in str(refusal.value)


def test_batches_are_cut_at_the_same_records_whatever_they_hold(write: Callable[[bytes], Path]) -> None:
    path = write(b"a;b;c\n" + b"".join(b"1;2\n" if number % 3 else b"1;2;3\n" for number in range(10)))
    batches = list(read_batches(path, fmt(), batch_rows=4))
    assert [batch.rows for batch in batches] == [4, 4, 2]
    assert [batch.frame["row"].to_list() for batch in batches] == [[1, 4], [7], [10]]
    assert [batch.rejects["row"].to_list() for batch in batches] == [[2, 3], [5, 6, 8], [9]]


# ---- by property


class Delivery(NamedTuple):
    dialect: Dialect
    width: int
    spare: int  # columns at the end that may be blank
    text: str
    good: list[tuple[object, ...]]
    bad: list[int]


def names(width: int) -> tuple[str, ...]:
    return tuple(f"colonne {number}" for number in range(width))


def written(fields: Sequence[str], dialect: Dialect, always: bool) -> str:
    if dialect.quote is None:
        return dialect.delimiter.join(fields)
    style = csv.QUOTE_ALL if always else csv.QUOTE_MINIMAL
    target = io.StringIO()
    writer = csv.writer(target, delimiter=dialect.delimiter, quotechar=dialect.quote, quoting=style)
    writer.writerow(fields)
    return target.getvalue().removesuffix("\r\n")


def meant(field: str, dialect: Dialect) -> str | None:
    """What a field that was written says."""
    if dialect.quote is None and re.fullmatch('(?s)".*"', field):
        field = field[1:-1].replace('""', '"')
    return None if field in {"", *NOTHING} else field


# Letters that matter to a parser come up often; no control characters: opening refuses too many of them.
VISIBLE = st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff")
LETTERS = st.one_of(st.sampled_from("ab;,\t|\"'\n é€😀 "), VISIBLE)
PLAIN = st.sampled_from("abé ")


@st.composite
def deliveries(draw: st.DrawFn) -> Delivery:
    """A table written in some dialect, with some records damaged. Stray quotes only where no other quote is near, since
    two of them may well enclose a field: what then happens is the business of the reference below."""
    delimiter = draw(st.sampled_from(";,\t|"))
    quote = draw(st.sampled_from(['"', "'", None]))
    width = draw(st.integers(2, 5))
    dialect = Dialect(delimiter, quote, draw(st.sampled_from([None, names(width)])))
    stray = quote is not None and draw(st.booleans())
    always = not stray and draw(st.booleans())
    letters = PLAIN if stray else LETTERS if quote else LETTERS.filter(lambda letter: letter not in {delimiter, "\n"})
    record = st.lists(st.text(letters, max_size=6), min_size=width, max_size=width)
    spare = draw(st.integers(0, width - 2))
    damages = [
        written(["x"] * (width - spare - 1), dialect, always),
        written(["x"] * (width + 1), dialect, always),
        written([""] * (width + 1), dialect, always),
    ]
    if stray:
        last = ["y"] * (width - 1)
        damages = [delimiter.join([f"{quote}x", *last]), delimiter.join([f"{quote}x{quote}x", *last])]
    records = [] if dialect.columns else [written(names(width), dialect, always)]
    good: list[tuple[object, ...]] = []
    bad: list[int] = []
    for number in range(1, draw(st.integers(0, 12)) + 1):
        damage = draw(st.sampled_from([None] * 6 + damages))
        if damage is None:
            fields = draw(record)
            told = ["x", *fields[1:]][: width - draw(st.integers(0, spare))]
            records.append(written(told, dialect, always))
            good.append((number, *(meant(field, dialect) for field in told), *[None] * (width - len(told))))
        else:
            records.append(damage)
            bad.append(number)
    end = draw(st.sampled_from(["\n", "\r\n"]))
    blank = draw(st.sampled_from(["", end]))
    ended = draw(st.sampled_from(["", end])) if spare == 0 else end
    text = (end + blank).join(records) + ended
    return Delivery(dialect, width, spare, text, good, bad)


SIZES = st.fixed_dictionaries({}, optional={"batch_rows": st.integers(1, 7), "block_bytes": st.integers(1, 99)})
PACKINGS = [lambda content: content, gzip.compress]


@given(
    delivery=deliveries(),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    packing=st.sampled_from(PACKINGS),
    sizes=SIZES,
)
def test_reads_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory,
    delivery: Delivery,
    encoding: str,
    packing: Callable[[bytes], bytes],
    sizes: dict[str, int],
) -> None:
    folder = tmp_path_factory.mktemp("read")
    (folder / "f").write_bytes(packing(delivery.text.encode(encoding)))
    if not delivery.text.strip():
        return  # opening refuses it
    opened = open_delivery(folder / "f", "f", folder)
    spare = names(delivery.width)[delivery.width - delivery.spare :]
    batches = read_batches(opened.path, fmt(delivery.dialect, names(delivery.width), may_be_blank=spare), **sizes)
    assert rows(batches) == (delivery.good, delivery.bad)


def reference(text: str, quote: str, delimiter: str, width: int) -> tuple[list[tuple[object, ...]], list[int]]:
    """The definition of a record, letter by letter."""

    def record_at(start: int) -> tuple[list[str], int] | None:
        fields, field, position, state = [], "", start, "begin"
        while position < len(text):
            letter = text[position]
            position += 1
            if state == "quoted":
                if letter != quote:
                    field += letter
                elif text[position : position + 1] == quote:
                    field += quote
                    position += 1
                else:
                    state = "closed"
            elif letter in {delimiter, "\n"}:
                fields.append(field if state == "closed" else field.removesuffix("\r") if letter == "\n" else field)
                field, state = "", "begin"
                if letter == "\n":
                    return fields, position
            elif state == "begin" and letter == quote:
                state = "quoted"
            elif state == "closed":
                if letter + text[position : position + 1] != "\r\n":
                    return None
            else:
                field, state = field + letter, "open"
        return None

    text = re.sub("\r(?!\n)", " ", text if text.endswith("\n") else text + "\n") if text else text
    good: list[tuple[object, ...]] = []
    bad: list[int] = []
    position = number = 0
    while position < len(text):
        line_end = text.index("\n", position) + 1
        if text[position:line_end] in {"\n", "\r\n"}:
            position = line_end
            continue
        number += 1
        record = record_at(position)
        if record is not None and len(record[0]) == width:
            good.append((number, *(field or None for field in record[0])))
            position = record[1]
        else:
            bad.append(number)
            position = line_end
    return good, bad


@given(
    text=st.lists(st.sampled_from(['"', ";", "\n", "\r", "a", '""', '"a"', "a;b\n", '"a";"b"\n']), max_size=40).map(
        "".join
    ),
    width=st.integers(1, 3),
    sizes=SIZES,
)
@example(text='a;"b\n"\n"";"\n"', width=2, sizes={"block_bytes": 1})
def test_agrees_with_the_definition_on_any_text(
    tmp_path_factory: pytest.TempPathFactory, text: str, width: int, sizes: dict[str, int]
) -> None:
    path = tmp_path_factory.mktemp("text") / "f"
    path.write_bytes(text.encode())
    headless = fmt(Dialect(";", '"', names(width)), names(width))
    assert rows(read_batches(path, headless, **sizes)) == reference(text, '"', ";", width)


@given(
    text=st.lists(st.sampled_from(["\t", "\n", "\r\n", "a", '"', "a\tb\n", "é"]), max_size=40).map("".join),
    width=st.integers(1, 3),
    sizes=SIZES,
)
def test_agrees_with_the_definition_without_quotes(
    tmp_path_factory: pytest.TempPathFactory, text: str, width: int, sizes: dict[str, int]
) -> None:
    path = tmp_path_factory.mktemp("text") / "f"
    path.write_bytes(text.encode())
    tabs = Dialect("\t", None, names(width))
    good, bad = reference(text, "\0", "\t", width)
    unquoted = [(number, *(meant(str(field or ""), tabs) for field in fields)) for number, *fields in good]
    assert rows(read_batches(path, fmt(tabs, names(width)), **sizes)) == (unquoted, bad)


# ---- at scale


@pytest.mark.parametrize("sizes", [{}, {"block_bytes": 5000, "limits": Limits(line_bytes=100)}])
def test_a_stray_quote_costs_one_record_of_many(write: Callable[[bytes], Path], sizes: dict[str, Any]) -> None:
    """Also where the file is sorted piece by piece, with records that straddle the pieces."""
    lines = [f'{number};"lieu\n{number % 7}";3' for number in range(1, 200_001)]
    lines[999] = '1000;"lieu;3'
    lines[150_000] = '150001;lieu;"3'
    path = write(b"a;b;c\n" + "\n".join(lines).encode() + b"\n")
    batches = list(read_batches(path, fmt(), batch_rows=50_000, **sizes))
    frame = pl.concat(batch.frame for batch in batches)
    assert pl.concat(batch.rejects for batch in batches)["row"].to_list() == [1000, 150_001]
    assert frame["row"].cast(pl.String).to_list() == frame["a"].to_list()
    assert frame.height == 199_998


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Reading 300 MB takes no more memory than reading 30 MB, plus some slack."""
    line = b";".join(b"valeur %d" % number for number in range(30)) + b"\n"
    wanted = tuple(f"c{number}" for number in range(0, 30, 3))
    path = tmp_path / "f.csv"
    me = psutil.Process()
    peaks = []
    for megabytes in (30, 300):
        with path.open("wb") as file:
            file.write(b";".join(b"c%d" % number for number in range(30)) + b"\n")
            file.writelines(line * 1000 for _ in range(megabytes * 10**6 // len(line) // 1000))
        peak = 0
        for _ in read_batches(path, fmt(required=wanted), batch_rows=2**14):
            peak = max(peak, me.memory_info().rss)
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 100 * 2**20
