"""From delivered bytes to a plain UTF-8 text file, by bounded, streaming steps; or a refusal that says what to do.

Three steps, each skipped when there is nothing to do: expand an archive, survey the bytes, convert them to UTF-8.
Nothing a file says about itself is trusted: neither its name, nor the sizes in an archive's header. Memory does not
depend on the delivery's size. A file that is UTF-8 already is read once and not copied.
"""

from __future__ import annotations

import codecs
import os
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from ingestion.refusal import Refused

_CHUNK = 2**20
_CENTRAL_DIRECTORY = 2**20  # bytes: some ten thousand members, where one is wanted

_UNICODE_MARKS = (  # the longest first: a UTF-32 mark starts like a UTF-16 one
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OTHER_ARCHIVES = {
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!\x1a": "a RAR archive",
    b"\x04\x22\x4d\x18": "an LZ4 archive",
}
_SIGNATURES = {
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"II*\x00": "an image",
    b"%PDF-": "a PDF document",
    b"{\\rtf": "a word processor's document",
    b"\xd0\xcf\x11\xe0": "an old workbook or document (.xls, .doc)",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"SQLite format 3\x00": "a database",
    **_OTHER_ARCHIVES,
}
_READABLE_YET_NOT_TEXT = (b"%PDF-", b"{\\rtf")  # they start like text, but no table starts like that
_CONTROL = bytes(set(range(1, 32)) - set(b"\t\n\v\f\r\x1b"))  # what text does not contain; NUL has its own rule
_UNDEFINED_IN_CP1252 = b"\x81\x8d\x8f\x90\x9d"
_EXPORT = "Export it again as delimited text (CSV), in UTF-8"
_ONE_MEMBER = "Deliver a zip with exactly one text file in it, or the text file itself"
_AGAIN = "Deliver it again; nothing of it was loaded"


@dataclass(frozen=True)
class Limits:
    """How much a delivery may ask of us.

    ``expanded_bytes`` and ``expansion`` (bytes out per byte in, counted once ``expansion_free_bytes`` came out) bound
    what a compressed file may become; a plain file may have any size.
    """

    line_bytes: int = 2**20
    columns: int = 2_000
    expanded_bytes: int = 64 * 2**30
    expansion: int = 200
    expansion_free_bytes: int = 64 * 2**20


@dataclass(frozen=True)
class Opened:
    """A delivery that can be read: UTF-8 text (perhaps with a byte order mark), with no NUL byte and no endless line.

    ``path`` is the delivered file itself where nothing had to change, else a private file in the scratch folder.
    ``encoding`` is that of the delivery. ``size`` counts the bytes of ``path``. ``notes`` are warnings for the receipt:
    ``encoding_unexpected`` (not UTF-8: converted), ``utf8_bom`` (a byte order mark), ``cr_line_ends`` (converted),
    ``no_final_newline`` (perhaps truncated).
    """

    path: Path
    encoding: str
    size: int
    notes: tuple[str, ...]


def open_regular(path: Path, name: str) -> BinaryIO:
    """Open an ordinary file, delivered as ``name``, for reading; never follows a link, never blocks.

    Raises:
        Refused: it is a link, a folder, a device, or we may not read it.
    """
    return _open_regular(path, name, folder=None)


def open_inside(folder: Path, path: Path) -> BinaryIO:
    """Open the ordinary file ``path`` (absolute, or relative to ``folder``), provided that it really is in ``folder``.

    No link is followed below ``folder``, at any step, so nobody can swap one in meanwhile.

    Raises:
        Refused: the path leaves the folder, passes through a link, or is not an ordinary file.
    """
    parts = _parts_inside(folder, path)
    steps = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY)]
    try:
        for part in parts[:-1]:
            try:
                steps.append(os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=steps[-1]))
            except NotADirectoryError:  # what Linux says of a link as well
                raise _irregular(path.name, "it is reached through a link") from None
        return _open_regular(Path(parts[-1]), path.name, folder=steps[-1])
    finally:
        for step in steps:
            os.close(step)


def inside(folder: Path, path: Path) -> Path:
    """The absolute path of ``path`` once :func:`open_inside` has been satisfied; raises as it does."""
    with open_inside(folder, path):
        return folder.absolute().joinpath(*_parts_inside(folder, path))


def open_delivery(path: Path, name: str, scratch: Path, limits: Limits | None = None) -> Opened:
    """Make ``path``, delivered as ``name``, readable as UTF-8 text.

    Accepts text in UTF-8, in UTF-16 or UTF-32 with a byte order mark, in cp1252 or Latin-1; plain, in gzip, or alone in
    a zip; with LF, CRLF or CR line ends. What has to be written goes to ``scratch``, readable by its owner only; it is
    the caller's to remove, except after a refusal, which leaves nothing behind.

    Raises:
        Refused: the delivery cannot be read; see :data:`ingestion.refusal.REFUSALS`.
    """
    written: list[Path] = []
    try:
        opened = _open(path, name, scratch, limits or Limits(), written)
    except BaseException:
        for leftover in written:
            leftover.unlink(missing_ok=True)
        raise
    for leftover in written:
        if leftover != opened.path:
            leftover.unlink()
    return opened


def _open(path: Path, name: str, scratch: Path, limits: Limits, written: list[Path]) -> Opened:
    plain, encoding = _expanded(path, name, scratch, limits, written), "utf-8"
    with open_regular(plain, name) as file:
        head = file.read(8)
    for mark, marked in _UNICODE_MARKS:
        if head.startswith(mark):
            encoding = marked
            plain = _write(_decoded(plain, name, marked), scratch, written)
            break
    survey = _Survey(name, limits)
    for chunk in _chunks(plain, name):
        survey.look(chunk)
    survey.end()
    if survey.encoding != "utf-8":
        encoding = survey.encoding
    if survey.encoding != "utf-8" or survey.cr_only:
        plain = _write(_decoded(plain, name, survey.encoding, survey.cr_only), scratch, written)
    notes = {
        "encoding_unexpected": encoding != "utf-8",
        "utf8_bom": head.startswith(codecs.BOM_UTF8),
        "cr_line_ends": survey.cr_only,
        "no_final_newline": not survey.ends_line,
    }
    return Opened(plain, encoding, plain.stat().st_size, tuple(note for note, noted in notes.items() if noted))


def _open_regular(path: Path, name: str, folder: int | None) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except PermissionError:
        raise Refused(
            "not_a_file", name, "we may not read it", "Give the lake read access and deliver it again"
        ) from None
    except FileNotFoundError:
        raise
    except OSError:  # ELOOP for a link, ENXIO for a socket
        raise _irregular(name, "it is a link or a device") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _irregular(name, "it is a folder, a pipe or a device")
    return os.fdopen(descriptor, "rb")


def _irregular(name: str, problem: str) -> Refused:
    return Refused("not_a_file", name, f"{problem}, not an ordinary file", "Deliver a copy of the file itself")


def _parts_inside(folder: Path, path: Path) -> tuple[str, ...]:
    base = os.path.abspath(folder)  # noqa: PTH100 - removes .. without following links
    wanted = Path(os.path.abspath(Path(base) / path))  # noqa: PTH100
    if not wanted.is_relative_to(base) or wanted == Path(base):
        raise Refused("path_outside", path.name, "it is not in the drop folder", "Copy it into the drop folder first")
    return wanted.relative_to(base).parts


def _chunks(path: Path, name: str) -> Iterator[bytes]:
    with open_regular(path, name) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _write(chunks: Iterator[bytes], scratch: Path, written: list[Path]) -> Path:
    """A new private file in ``scratch`` with ``chunks`` in it; noted in ``written`` before anything is."""
    descriptor, target = tempfile.mkstemp(dir=scratch, prefix="opened-", suffix=".txt")
    written.append(Path(target))
    with os.fdopen(descriptor, "wb") as file:
        file.writelines(chunks)
    return Path(target)


def _expanded(path: Path, name: str, scratch: Path, limits: Limits, written: list[Path]) -> Path:
    """``path`` itself, or, when it is an archive, a new file with its one member's bytes."""
    with open_regular(path, name) as file:
        head = file.read(8)
        file.seek(0)
        if not head.startswith((_GZIP, *_ZIP)):
            return path
        chunks = _gunzip(file, name) if head.startswith(_GZIP) else _unzip(file, name)
        size = os.fstat(file.fileno()).st_size
        expanded = _write(_within(limits, chunks, size, name), scratch, written)
    with expanded.open("rb") as file:
        if file.read(8).startswith((_GZIP, *_ZIP, *_OTHER_ARCHIVES)):
            raise Refused("archive_not_single", name, "the archive holds another archive or a workbook", _ONE_MEMBER)
    return expanded


def _within(limits: Limits, chunks: Iterator[bytes], compressed: int, name: str) -> Iterator[bytes]:
    """The chunks, as long as they are within the limits of expansion."""
    most = min(limits.expanded_bytes, max(limits.expansion_free_bytes, compressed * limits.expansion))
    expanded = 0
    for chunk in chunks:
        expanded += len(chunk)
        if expanded > most:
            problem = f"its {compressed:,} compressed bytes expand to more than {most:,}"
            raise Refused("archive_bomb", name, problem, "If it is genuine, deliver it uncompressed, or in parts")
        yield chunk


def _gunzip(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The expanded bytes of a gzip file of one or several members, each checked against its checksum."""

    def unreadable(problem: str) -> Refused:
        return Refused("archive_unreadable", name, f"the gzip file is {problem}", _AGAIN)

    member = zlib.decompressobj(wbits=31)
    pending = b""
    while pending or (pending := file.read(_CHUNK)):
        if member.eof:  # a new member, or padding
            pending = pending.lstrip(b"\0")
            if not pending:
                continue
            member = zlib.decompressobj(wbits=31)
        try:
            chunk = member.decompress(pending, _CHUNK)
        except zlib.error:
            raise unreadable("damaged") from None
        pending = member.unused_data if member.eof else member.unconsumed_tail
        if chunk:
            yield chunk
    if not member.eof:
        raise unreadable("truncated")


class _SmallReads:
    """What ``zipfile`` sees of a zip: a central directory too big to hold in memory is refused, not read."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable
        self._file = file
        self._name = name

    def read(self, size: int = -1) -> bytes:
        if size > max(_CENTRAL_DIRECTORY, _CHUNK):
            raise Refused("archive_not_single", self._name, "the zip has thousands of members", _ONE_MEMBER)
        return self._file.read(size)


def _unzip(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The expanded bytes of the one data file in a zip, checked against its checksum."""

    def unreadable(problem: str) -> Refused:
        return Refused("archive_unreadable", name, f"the zip file is {problem}", _AGAIN)

    try:
        with zipfile.ZipFile(_SmallReads(file, name)) as archive:
            member = _only_member(archive, name)
            with archive.open(member) as stream:
                while chunk := stream.read(_CHUNK):
                    yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError, NotImplementedError, ValueError):
        raise unreadable("truncated or damaged") from None


def _only_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if any(member.filename in {"[Content_Types].xml", "mimetype"} for member in members):
        raise Refused("binary_content", name, "this is not text, it looks like a workbook or a document", _EXPORT)
    members = [member for member in members if not _is_litter(PurePosixPath(member.filename))]
    if len(members) != 1:
        raise Refused("archive_not_single", name, f"the zip holds {len(members)} files", _ONE_MEMBER)
    if members[0].flag_bits & 1:
        raise Refused("archive_unreadable", name, "the zip is protected by a password", "Deliver it without a password")
    if members[0].compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        # the others expand without bound in one step
        raise Refused("archive_unreadable", name, "the zip uses an unusual compression", "Compress it with Deflate")
    return members[0]


def _is_litter(member: PurePosixPath) -> bool:
    """What desktops leave in the zips they make."""
    return member.parts[0] == "__MACOSX" or member.name.startswith(".") or member.name in {"Thumbs.db", "desktop.ini"}


def _decoded(path: Path, name: str, encoding: str, cr_only: bool = False) -> Iterator[bytes]:
    """The file's text as UTF-8 with LF line ends."""
    charset, errors = ("utf-8", _AS_CP1252) if encoding == _MIXED else (encoding, "strict")
    decoder = codecs.getincrementaldecoder(charset)(errors)
    try:
        for chunk in _chunks(path, name):
            text = decoder.decode(chunk)
            yield (text.replace("\r", "\n") if cr_only else text).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError:
        problem = f"it starts as {encoding} text but does not go on as such"
        raise Refused("not_text", name, problem, _EXPORT) from None


_MIXED = "utf-8 and cp1252"
_AS_CP1252 = "calanque.as_cp1252"


def _bytes_as_cp1252(error: UnicodeError) -> tuple[str, int]:
    """A decoding error handler: bytes that are no UTF-8 are read as cp1252, as they were most probably meant."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    stray = error.object[error.start : error.end]
    return stray.decode("cp1252", "replace"), error.end


codecs.register_error(_AS_CP1252, _bytes_as_cp1252)


class _Survey:
    """What one pass over plain bytes shows: encoding, line ends, and whatever makes them unreadable."""

    def __init__(self, name: str, limits: Limits) -> None:
        self._name = name
        self._limits = limits
        self._bytes = 0
        self._lines = 0  # line feeds before the current chunk
        self._open = 0  # bytes of the unfinished line
        self._partial = b""  # an unfinished UTF-8 character
        self._utf8_characters = 0  # of more than one byte
        self._strays = 0  # bytes that are not UTF-8
        self._undefined = False  # bytes that cp1252 does not define
        self._has_lf = False
        self._has_cr = False
        self._blank = True
        self.ends_line = False

    @property
    def cr_only(self) -> bool:
        return self._has_cr and not self._has_lf

    @property
    def encoding(self) -> str:
        if not self._strays:
            return "utf-8"
        if self._utf8_characters > self._strays:
            return _MIXED
        return "latin-1" if self._undefined else "cp1252"

    def look(self, chunk: bytes) -> None:
        """Take note of the next ``chunk``.

        Raises:
            Refused: no text, a NUL byte, an endless line or header.
        """
        if not self._bytes:
            self._judge_start(chunk)
        if b"\0" in chunk:
            line = self._lines + chunk.count(b"\n", 0, chunk.index(b"\0")) + 1
            raise Refused("nul_byte", self._name, f"line {line:,} contains a NUL byte", _EXPORT)
        self._measure_lines(chunk)
        self._judge_encoding(chunk)
        feeds = int(np.count_nonzero(np.frombuffer(chunk, np.uint8) == ord("\n")))
        self._lines += feeds
        self._has_lf = self._has_lf or feeds > 0
        self._has_cr = self._has_cr or b"\r" in chunk
        if text := chunk.rstrip(b"\x1a"):  # by which old programs end a file
            self.ends_line = text.endswith((b"\n", b"\r"))
        self._blank = self._blank and not chunk.removeprefix(codecs.BOM_UTF8).strip()
        self._bytes += len(chunk)

    def end(self) -> None:
        """Conclude: a character cut by the end of the file is a stray.

        Raises:
            Refused: there was nothing but blanks.
        """
        self._strays += len(self._partial)
        if self._blank:
            raise Refused("empty_file", self._name, "the file is empty", _AGAIN)

    def _judge_start(self, start: bytes) -> None:
        control = len(start) - len(start.translate(None, _CONTROL))
        binary = control * 20 > len(start)
        if binary or b"\0" in start or start.startswith(_READABLE_YET_NOT_TEXT):
            likeness = next((what for signature, what in _SIGNATURES.items() if start.startswith(signature)), None)
            if start[257:262] == b"ustar":
                likeness = "a tar archive"
            zeros = start.count(b"\0")
            if likeness is None and zeros * 4 > len(start) and 0 in (start[::2].count(b"\0"), start[1::2].count(b"\0")):
                raise Refused("nul_byte", self._name, "it looks like UTF-16 without a byte order mark", _EXPORT)
            if likeness or binary:
                problem = f"this is not text, it looks like {likeness or 'binary data'}"
                raise Refused("binary_content", self._name, problem, _EXPORT)
        ends = [end for end in (start.find(b"\n"), start.find(b"\r")) if end >= 0]
        header = start[: min(ends, default=len(start))]
        columns = max(header.count(delimiter) for delimiter in (b",", b";", b"\t", b"|")) + 1
        if columns > self._limits.columns:
            more = f"{columns:,}" if ends else f"more than {columns:,}"
            problem = f"its first line has {more} columns, the most any format may have is {self._limits.columns:,}"
            raise Refused("too_many_columns", self._name, problem, "Export only the columns of the format")

    def _measure_lines(self, chunk: bytes) -> None:
        """Hop from line end to line end, a limit's length at a time: the cost is a few searches per chunk."""
        start = -self._open
        while start + self._limits.line_bytes < len(chunk):
            furthest = start + self._limits.line_bytes + 1
            end = max(chunk.rfind(b"\n", max(start, 0), furthest), chunk.rfind(b"\r", max(start, 0), furthest))
            if end < 0:
                line = self._lines + chunk.count(b"\n", 0, max(start, 0)) + 1
                problem = f"line {line:,} is longer than {self._limits.line_bytes:,} bytes"
                raise Refused("line_too_long", self._name, problem, "Check the line ends, and export it again")
            start = end + 1
        last = max(chunk.rfind(b"\n", max(start, 0)), chunk.rfind(b"\r", max(start, 0)))
        self._open = len(chunk) - (last + 1 if last >= 0 else start)

    def _judge_encoding(self, chunk: bytes) -> None:
        whole = self._partial + chunk
        self._partial = b""
        if whole.isascii():
            return
        whole, self._partial = _split_last_character(whole)
        if _is_utf8(whole):
            self._utf8_characters += int(np.count_nonzero(np.frombuffer(whole, np.uint8) >= 0xC0))
            return
        known = whole.decode("utf-8", "ignore")
        self._utf8_characters += len(known) - len(known.encode("ascii", "ignore"))
        self._strays += len(whole) - len(known.encode())
        self._undefined = self._undefined or whole.translate(None, _UNDEFINED_IN_CP1252) != whole


def _split_last_character(data: bytes) -> tuple[bytes, bytes]:
    """``data`` in two: the second part is the beginning of a UTF-8 character whose end is not there, mostly empty."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:  # a first byte, which says how long its character is
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return (data[:-back], data[-back:]) if back < length else (data, b"")
        if byte < 0x80:
            break
    return data, b""


def _is_utf8(data: bytes) -> bool:
    """Whether ``data`` is valid UTF-8; several times faster than decoding it."""
    text = pa.StringArray.from_buffers(1, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True
