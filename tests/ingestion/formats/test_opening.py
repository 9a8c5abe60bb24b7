"""Every kind of bad delivery is refused with a sentence that names the file and the remedy; every good one opens."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import random
import socket
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.formats.opening import Limits, Opened, inside, open_delivery, open_inside
from ingestion.refusal import REFUSALS, Refused, printable

TABLE = "jour;lieu;nombre\n2026-01-01;Vieux-Port;12\n2026-01-02;Castellane;9\n"
FRENCH = "jour;lieu;nombre\n2026-01-01;Noailles été;12\n2026-01-02;Préfecture;9\n"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def deliver(tmp_path: Path, scratch: Path) -> Callable[..., Opened]:
    def open_bytes(content: bytes, **limits: int) -> Opened:
        path = tmp_path / "livraison.csv"
        path.write_bytes(content)
        return open_delivery(path, "livraison.csv", scratch, Limits(**limits))

    return open_bytes


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return target.getvalue()


def text_of(opened: Opened) -> str:
    return opened.path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode()


# ---- what opens


@pytest.mark.parametrize(
    ("content", "text", "encoding", "notes"),
    [
        (TABLE.encode(), TABLE, "utf-8", ()),
        (FRENCH.encode(), FRENCH, "utf-8", ()),
        (TABLE[:-1].encode(), TABLE[:-1], "utf-8", ("no_final_newline",)),
        (TABLE.encode() + b"\x1a", TABLE + "\x1a", "utf-8", ()),  # reading leaves it out
        (FRENCH.encode("utf-8-sig"), FRENCH, "utf-8", ("utf8_bom",)),
        (FRENCH.encode("cp1252"), FRENCH, "cp1252", ("encoding_unexpected",)),
        ("prix;12 €\n".encode("cp1252"), "prix;12 €\n", "cp1252", ("encoding_unexpected",)),
        (b"lieu;\x81\xe9\n", "lieu;\x81é\n", "latin-1", ("encoding_unexpected",)),
        (FRENCH.encode("utf-16"), FRENCH, "utf-16", ("encoding_unexpected",)),
        (b"\xfe\xff" + FRENCH.encode("utf-16-be"), FRENCH, "utf-16", ("encoding_unexpected",)),
        (FRENCH.encode("utf-32"), FRENCH, "utf-32", ("encoding_unexpected",)),
        (TABLE.replace("\n", "\r\n").encode(), TABLE.replace("\n", "\r\n"), "utf-8", ()),
        (TABLE.replace("\n", "\r").encode(), TABLE, "utf-8", ("cr_line_ends",)),
        (FRENCH.replace("\n", "\r").encode("cp1252"), FRENCH, "cp1252", ("encoding_unexpected", "cr_line_ends")),
        (
            FRENCH.encode() + b"2026-01-03;Pr\xe9fecture;3\n",
            FRENCH + "2026-01-03;Préfecture;3\n",
            "utf-8 and cp1252",
            None,
        ),
        (gzip.compress(FRENCH.encode(), mtime=0), FRENCH, "utf-8", ()),
        (
            gzip.compress(TABLE[:20].encode(), mtime=0) + gzip.compress(TABLE[20:].encode(), mtime=0) + b"\0" * 9,
            TABLE,
            "utf-8",
            (),
        ),
        (zipped({"a/b.csv": FRENCH.encode("cp1252")}), FRENCH, "cp1252", ("encoding_unexpected",)),
        (zipped({"b.csv": TABLE.encode()}, zipfile.ZIP_STORED), TABLE, "utf-8", ()),
        (zipped({"d/": b"", "__MACOSX/._b.csv": b"x", ".DS_Store": b"x", "b.csv": TABLE.encode()}), TABLE, "utf-8", ()),
    ],
)
def test_opens(
    deliver: Callable[..., Opened], content: bytes, text: str, encoding: str, notes: tuple[str, ...]
) -> None:
    opened = deliver(content)
    assert text_of(opened) == text
    assert opened.encoding == encoding
    assert opened.notes == (notes if notes is not None else ("encoding_unexpected",))
    assert opened.size == opened.path.stat().st_size


def test_utf8_is_not_copied(deliver: Callable[..., Opened], scratch: Path, tmp_path: Path) -> None:
    assert deliver(FRENCH.encode()).path == tmp_path / "livraison.csv"
    assert list(scratch.iterdir()) == []


def test_what_is_written_is_private_and_single(deliver: Callable[..., Opened], scratch: Path) -> None:
    opened = deliver(gzip.compress(FRENCH.replace("\n", "\r").encode("cp1252")))
    assert list(scratch.iterdir()) == [opened.path]
    assert stat.S_IMODE(opened.path.stat().st_mode) == 0o600


@given(
    text=st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufeff"), min_size=1
    ),
    cut=st.integers(0, 9),
    packing=st.sampled_from([bytes, gzip.compress, lambda content: zipped({"x.csv": content})]),
)
def test_utf8_survives_any_chunking(
    tmp_path_factory: pytest.TempPathFactory, text: str, cut: int, packing: Callable[[bytes], bytes]
) -> None:
    """Characters that straddle the chunks of a mebibyte are neither lost nor taken for another encoding."""
    folder = tmp_path_factory.mktemp("utf8")
    content = ("x" * (2**20 - cut - 1) + "\n" + text + "\n").encode()
    (folder / "f").write_bytes(packing(content))
    opened = open_delivery(folder / "f", "f", folder)
    assert opened.encoding == "utf-8"
    assert opened.path.read_bytes() == content


# ---- what is refused


def png() -> bytes:
    return b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(4000)


def workbook() -> bytes:
    return zipped({"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<workbook/>"})


def lying_zip() -> bytes:
    """A zip whose directory promises fewer bytes than its member has."""
    content = bytearray(zipped({"x.csv": TABLE.encode() * 50}))
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (10).to_bytes(4, "little")
    return bytes(content)


def locked_zip() -> bytes:
    content = bytearray(zipped({"x.csv": TABLE.encode()}))
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def tar() -> bytes:
    return b"x.csv".ljust(257, b"\0") + b"ustar".ljust(255, b"\0") + TABLE.encode()


REFUSED: dict[str, tuple[str, bytes, str]] = {
    "empty": ("empty_file", b"", "empty"),
    "empty in gzip": ("empty_file", gzip.compress(b""), "empty"),
    "empty in zip": ("empty_file", zipped({"x.csv": b""}), "empty"),
    "blank": ("empty_file", b"\xef\xbb\xbf \r\n\n", "empty"),
    "random bytes": ("binary_content", random.Random(2).randbytes(5000), "binary data"),
    "few random bytes": ("binary_content", random.Random(4).randbytes(64), "binary data"),
    "program": ("binary_content", b"\x7fELF\x02\x01\x01" + bytes(60), "a program"),
    "image": ("binary_content", png(), "an image"),
    "pdf": ("binary_content", b"%PDF-1.7\n" + b"text\n" * 99, "a PDF document"),
    "parquet": ("binary_content", b"PAR1\x15\x04" + bytes(60), "a Parquet file"),
    "old workbook": ("binary_content", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(60), ".xls"),
    "workbook": ("binary_content", workbook(), "a workbook"),
    "open document": ("binary_content", zipped({"mimetype": b"application/x", "content.xml": b"<x/>"}), "a workbook"),
    "zstd": ("binary_content", b"\x28\xb5\x2f\xfd" + bytes(60), "a Zstandard archive"),
    "tar": ("binary_content", tar(), "a tar archive"),
    "NUL": ("nul_byte", (TABLE + "2026-01-03;Jo\0liette;1\n").encode(), "line 4 contains a NUL byte"),
    "NUL at the end": ("nul_byte", TABLE.encode() + bytes(9), "line 4 contains a NUL byte"),
    "UTF-16 without mark": ("nul_byte", TABLE.encode("utf-16-le"), "looks like UTF-16"),
    "broken UTF-16": ("not_text", b"\xff\xfea\x00b\xd8c\x00", "utf-16"),
    "odd UTF-16": ("not_text", b"\xff\xfea\x00b", "utf-16"),
    "a million columns": ("too_many_columns", b"a," * 10**6 + b"a\n1\n", "more than"),
    "some thousand columns": ("too_many_columns", b"a;" * 5000 + b"a\n1\n", "5,001 columns"),
    "truncated gzip": ("archive_unreadable", gzip.compress(FRENCH.encode() * 999)[:-20], "truncated"),
    "gzip without its checksum": ("archive_unreadable", gzip.compress(FRENCH.encode())[:-8], "truncated"),
    "gzip with another checksum": ("archive_unreadable", gzip.compress(TABLE.encode())[:-8] + bytes(8), "damaged"),
    "gzip with something after": ("archive_unreadable", gzip.compress(TABLE.encode()) + b"xyz", "damaged"),
    "damaged gzip": ("archive_unreadable", gzip.compress(TABLE.encode())[:10] + b"\x07" * 99, "damaged"),
    "truncated zip": ("archive_unreadable", zipped({"x.csv": TABLE.encode()})[:-30], "truncated or damaged"),
    "lying zip": ("archive_unreadable", lying_zip(), "truncated or damaged"),
    "locked zip": ("archive_unreadable", locked_zip(), "password"),
    "bzip2 zip": ("archive_unreadable", zipped({"x.csv": TABLE.encode()}, zipfile.ZIP_BZIP2), "unusual compression"),
    "two files": ("archive_not_single", zipped({"x.csv": b"a\n", "y.csv": b"b\n"}), "2 files"),
    "no file": ("archive_not_single", zipped({}), "0 files"),
    "zip in gzip": ("archive_not_single", gzip.compress(zipped({"x.csv": b"a"})), "another archive"),
    "gzip in zip": ("archive_not_single", zipped({"x.csv.gz": gzip.compress(b"a")}), "another archive"),
    "gzip in gzip": ("archive_not_single", gzip.compress(gzip.compress(b"a")), "another archive"),
}


@pytest.mark.parametrize(("rule", "content", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(deliver: Callable[..., Opened], scratch: Path, rule: str, content: bytes, says: str) -> None:
    with pytest.raises(Refused) as refusal:
        deliver(content)
    assert refusal.value.rule == rule
    assert rule in REFUSALS
    assert str(refusal.value).startswith("livraison.csv: ")
    assert says in refusal.value.problem
    assert refusal.value.remedy
    assert list(scratch.iterdir()) == [], "a refusal leaves nothing behind"


@pytest.mark.parametrize("pack", [gzip.compress, lambda zeros: zipped({"x.csv": zeros})], ids=["gzip", "zip"])
def test_refuses_a_bomb_before_it_goes_off(deliver: Callable[..., Opened], pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(b"a;b\n" * 2**20)  # 4 MiB in a few kilobytes
    assert deliver(bomb).size == 2**22, "small enough not to be a bomb"
    with pytest.raises(Refused, match="expand to more than 1,048,576") as refusal:
        deliver(bomb, expansion=20, expansion_free_bytes=2**20)
    assert refusal.value.rule == "archive_bomb"
    with pytest.raises(Refused, match="expand to more than 2,000,000"):
        deliver(bomb, expanded_bytes=2_000_000)


def test_refuses_a_true_bomb(tmp_path: Path) -> None:
    """A gigabyte in a megabyte: refused with the default limits, in bounded space."""
    member = gzip.compress(bytes(2**26))
    (tmp_path / "bomb.gz").write_bytes(member * 16)
    with pytest.raises(Refused) as refusal:
        open_delivery(tmp_path / "bomb.gz", "bomb.gz", tmp_path)
    assert refusal.value.rule == "archive_bomb"
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.gz"]


def test_refuses_a_zip_with_a_huge_directory(deliver: Callable[..., Opened]) -> None:
    with pytest.raises(Refused, match="thousands of members"):
        deliver(zipped({f"{number:0200}.csv": b"" for number in range(6000)}, zipfile.ZIP_STORED))


@pytest.mark.parametrize("packing", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(("before", "length"), [(b"", 1001), (b"a;b\n", 1001), (b"a;b\r\n" * 9, 5 * 2**20)])
def test_refuses_an_endless_line(
    deliver: Callable[..., Opened], before: bytes, length: int, packing: Callable[[bytes], bytes]
) -> None:
    line = before.count(b"\n") + 1
    with pytest.raises(Refused, match=f"line {line} is longer than 1,000 bytes") as refusal:
        deliver(packing(before + b"x" * length + b"\na;b\n"), line_bytes=1000)
    assert refusal.value.rule == "line_too_long"


@given(lengths=st.lists(st.integers(0, 40), min_size=1, max_size=60), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_line_limit_is_exact(tmp_path_factory: pytest.TempPathFactory, lengths: list[int], end: str) -> None:
    folder = tmp_path_factory.mktemp("lines")
    (folder / "f").write_text("x" + end + end.join("x" * length for length in lengths) + end, newline="")
    longest = max(lengths) + len(end.rstrip("\n"))
    if longest <= 30:
        open_delivery(folder / "f", "f", folder, Limits(line_bytes=30))
    elif max(lengths) > 30:
        with pytest.raises(Refused, match="longer than 30 bytes"):
            open_delivery(folder / "f", "f", folder, Limits(line_bytes=30))


def test_refuses_a_true_line_of_two_gigabytes(tmp_path: Path) -> None:
    path = tmp_path / "line.csv"
    with path.open("wb") as file:
        file.write(b"a;b\n" + b"x" * 2**22)
        file.truncate(2 * 2**30)  # sparse: the rest is never read
    with pytest.raises(Refused, match="line 2 is longer than 1,048,576 bytes"):
        open_delivery(path, "line.csv", tmp_path)


# ---- what is not an ordinary file


def test_refuses_what_is_not_an_ordinary_file(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "real.csv").write_text(TABLE)
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    (tmp_path / "dangling.csv").symlink_to(tmp_path / "nowhere.csv")
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.csv"))
        for name in ("link.csv", "dangling.csv", "folder.csv", "pipe.csv", "s.csv"):
            with pytest.raises(Refused, match=f"^{name}: .*not an ordinary file") as refusal:
                open_delivery(tmp_path / name, name, scratch)
            assert refusal.value.rule == "not_a_file"


def test_refuses_a_device(scratch: Path) -> None:
    with pytest.raises(Refused, match="not an ordinary file"):
        open_delivery(Path("/dev/zero"), "zero", scratch)


def test_inside_the_drop_folder(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    (drop / "tows").mkdir(parents=True)
    (drop / "tows" / "a.csv").write_text(TABLE)
    assert inside(drop, Path("tows/a.csv")) == drop / "tows" / "a.csv"
    assert inside(drop, drop / "tows" / "a.csv") == drop / "tows" / "a.csv"
    assert inside(drop, Path("tows/../tows/./a.csv")) == drop / "tows" / "a.csv"
    with open_inside(drop, Path("tows/a.csv")) as file:
        assert file.read() == TABLE.encode()


def test_refuses_paths_that_leave_the_drop_folder(tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    (tmp_path / "drop-secret.csv").write_text(TABLE)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.csv").write_text(TABLE)
    (drop / "door").symlink_to(tmp_path / "outside")
    (drop / "a.csv").symlink_to(tmp_path / "outside" / "a.csv")
    (drop / "file").write_text(TABLE)
    for path in (
        Path("../drop-secret.csv"),
        Path("door/../../outside/a.csv"),
        tmp_path / "outside" / "a.csv",
        tmp_path / "drop-secret.csv",
        Path("/etc/hostname"),
        drop,
        Path(".."),
    ):
        with pytest.raises(Refused, match="not in the drop folder") as refusal:
            inside(drop, path)
        assert refusal.value.rule == "path_outside"
    for path in (Path("door/a.csv"), Path("a.csv"), Path("file/a.csv")):
        with pytest.raises(Refused, match="not an ordinary file") as refusal:
            inside(drop, path)
        assert refusal.value.rule == "not_a_file"


# ---- the sentence


def test_a_refusal_survives_pickling_and_odd_names() -> None:
    refusal = Refused("empty_file", "a\nb\x1b[31m\u202e.csv" + "x" * 500, "the file is empty", "Deliver it again")
    again = pickle.loads(pickle.dumps(refusal))  # noqa: S301 - our own bytes
    assert (again.rule, str(again)) == (refusal.rule, str(refusal))
    assert "\n" not in str(refusal)
    assert "\x1b" not in str(refusal)
    assert "\u202e" not in str(refusal)
    assert len(str(refusal)) < 200
    assert printable("Préfecture n° 1.csv") == "Préfecture n° 1.csv"
