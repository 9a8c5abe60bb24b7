"""Everything a sender can do wrong, by the command line: a sentence for each, and a lake that goes on."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from calanque.demo.generate import senders
from infra import object_store
from infra.city.profile import load_city
from infra.settings import Settings

pytestmark = [pytest.mark.live, pytest.mark.slow]

DAY = date(2026, 5, 4)
SILO, OTHER = "tows", "crowd_flows"
MEGABYTE = 2**20
# The most a test run should write; a line of gigabytes ends in the same way: CALANQUE_TEST_LINE_MB=2048.
LINE_MB = int(os.environ.get("CALANQUE_TEST_LINE_MB", "32"))


def calanque(*arguments: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "calanque.cli", *arguments),
        env={**os.environ, "CALANQUE_HOME": str(home), "CALANQUE_QUIET": "0", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )


def said(ran: subprocess.CompletedProcess[str]) -> str:
    assert "Traceback" not in ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def figures(home: Path) -> dict[str, Any]:
    answer = calanque("report", "--json", home=home)
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout)["silos"])


@pytest.fixture(scope="module")
def sound(lake: Settings) -> Callable[[str], str]:
    """A sound delivery of a silo, another at each call."""
    numbers = random.Random(uuid.uuid4().int)

    def text(silo: str) -> str:
        every = senders(load_city(lake), seed=numbers.randrange(2**31), since=DAY, scale=0.3)
        return next(sender for sender in every if sender.silo == silo).day(DAY).text()

    return text


def zipped(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


@dataclass(frozen=True)
class Bad:
    """A delivery that must be refused, and words that its sentence must have."""

    name: str
    content: bytes
    words: tuple[str, ...]


def bad_deliveries(sound: Callable[[str], str]) -> Iterator[Bad]:
    good, unique = sound(SILO), uuid.uuid4().hex
    header, *lines = good.splitlines()
    yield Bad("vide.csv", b"", ("empty",))
    yield Bad("bruit.csv", random.Random(unique).randbytes(100_000), ("not text",))
    yield Bad("deux.zip", zipped(**{"a.csv": unique.encode(), "b.csv": b"b"}), ("2 files",))
    yield Bad(
        "bombe.zip",
        zipped(**{"a.csv": f"{header}\n{unique}".encode() + bytes(100 * MEGABYTE)}),
        ("expand to more than",),
    )
    yield Bad(
        "bombe.csv.gz",
        gzip.compress(f"{header}\n{unique}".encode() + b" " * (100 * MEGABYTE)),
        ("expand to more than",),
    )
    yield Bad("interrompu.csv.gz", gzip.compress(good.encode())[:-20], ("truncated",))
    yield Bad("ligne.csv", f"{header}\n{unique}".encode() + b"x" * (LINE_MB * MEGABYTE), ("line 2", "longer"))
    yield Bad("autre.csv", sound(OTHER).encode(), (OTHER,))
    yield Bad("large.csv", f"{unique},".encode() + b",".join(b"c%d" % n for n in range(10**6)), ("columns",))
    yield Bad("nul.csv", f"{header}\n{lines[0]}\n{unique}\0\n".encode(), ("NUL",))
    yield Bad("entete.csv", good.replace("motif", unique[:8]).encode(), ("motif",))


def digest(delivery: Bad) -> str:
    return hashlib.sha256(delivery.content).hexdigest()


def landed(lake: Settings) -> set[str]:
    """Digests of what is in landing."""
    store = object_store.client(lake, "pipeline")
    return {Path(key).name.split(".")[0] for key in object_store.list_keys(store, "landing", f"{SILO}/")}


def test_each_bad_delivery_gets_a_sentence_and_the_lake_goes_on(
    lake: Settings, sound: Callable[[str], str], tmp_path: Path
) -> None:
    before = figures(lake.home)
    known = landed(lake)  # in a lake that tests have used before, the empty file is nothing new
    bad = [delivery for delivery in bad_deliveries(sound) if digest(delivery) not in known]
    for delivery in bad:
        (tmp_path / delivery.name).write_bytes(delivery.content)
    dropped = calanque("drop", *(tmp_path / delivery.name for delivery in bad), "--silo", SILO, home=lake.home)
    assert dropped.returncode == 0, said(dropped)
    ran = calanque("run", "--silo", SILO, home=lake.home)
    told = said(ran)
    assert ran.returncode == 0, told  # a refusal is an outcome, not a failure
    sentences = {delivery.name: [line for line in told.splitlines() if delivery.name in line] for delivery in bad}
    assert all(len(lines) == 1 and lines[0].endswith(".") and len(lines[0]) < 400 for lines in sentences.values()), told
    wrong = [
        (delivery.words, sentences[delivery.name])
        for delivery in bad
        if not all(word in sentences[delivery.name][0] for word in delivery.words)
    ]
    assert wrong == []
    after = figures(lake.home)
    assert after[SILO]["refused"] == before[SILO]["refused"] + len(bad)
    assert {name: after[SILO][name] for name in ("rows_in", "accepted")} == {
        name: before[SILO][name] for name in ("rows_in", "accepted")
    }
    # What was refused stays in landing, to be looked at, until the store expires it.
    assert {digest(delivery) for delivery in bad} <= landed(lake)


def test_deliveries_that_are_only_odd_are_accepted_for_what_is_good_in_them(
    lake: Settings, sound: Callable[[str], str], tmp_path: Path
) -> None:
    """And so the lake is well after all that was done to it."""
    good, unique, outside = sound(SILO), uuid.uuid4().hex, f"{uuid.uuid4().hex}.csv"
    rows = len(good.splitlines()) - 1
    header = good.splitlines()[0]
    bad = f"{header}\n{unique}".encode() + b"\x81\x8d\xe9\xff" * 50
    odd = {
        "ancien.csv": (good.encode("cp1252"), rows, rows),
        "sournois.zip": (zipped(**{f"../../../{outside}": sound(SILO).encode()}), None, None),
        "octets.csv": (bad, 1, 0),  # no encoding explains it, and its one row is none
        "bom.csv": (b"\xef\xbb\xbf" + header.encode() + b"\n", 0, 0),
    }
    before = figures(lake.home)[SILO]
    for name, (content, _, _) in odd.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "encore.csv").write_bytes(odd["ancien.csv"][0])
    names = [*odd, "encore.csv"]
    dropped = calanque("drop", *(tmp_path / name for name in names), "--silo", SILO, home=lake.home)
    assert dropped.returncode == 0, said(dropped)
    ran = calanque("run", "--silo", SILO, home=lake.home)
    told = said(ran)
    assert ran.returncode == 0, told
    for name, (_, rows_in, accepted) in odd.items():
        if rows_in is not None and accepted is not None:
            figured = f"{name}: {rows_in:,} rows in, {accepted:,} accepted, {rows_in - accepted:,} quarantined"
            assert figured in told
    assert "encore.csv: the same bytes were delivered before" in told
    after = figures(lake.home)[SILO]
    assert after["accepted"] >= before["accepted"] + rows
    assert after["deliveries"] == before["deliveries"] + len(odd)
    assert after["refused"] == before["refused"]
    assert not [path for path in (lake.home, *lake.home.parents) if (path / outside).exists()]
    assert not list(lake.home.rglob(outside))
    doctor = calanque("doctor", home=lake.home)
    assert doctor.returncode == 0, said(doctor)


@pytest.mark.long
def test_only_ordinary_files_are_taken_from_where_they_are_delivered(
    lake: Settings, sound: Callable[[str], str], tmp_path: Path
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(sound(SILO))
    folder = lake.drop_dir / SILO
    folder.mkdir(parents=True, exist_ok=True)
    before = figures(lake.home)[SILO]["deliveries"]

    link = tmp_path / "lien.csv"
    link.symlink_to(secret)
    wrong = {link: "link", tmp_path: "folder", tmp_path / "absent.csv": "No such file"}
    dropped = calanque("drop", *wrong, "--silo", SILO, home=lake.home)
    assert dropped.returncode == 1
    for path, word in wrong.items():
        assert any(path.name in line and word in line for line in said(dropped).splitlines()), said(dropped)
    dropped = calanque("drop", secret, "--silo", "../../etc", home=lake.home)
    assert dropped.returncode == 1
    assert "there is no silo" in said(dropped)

    # Put there by other means than our command.
    (folder / "lien.csv").symlink_to(secret)
    (folder / "dehors.csv").symlink_to("../../secrets/pg-admin")
    (folder / "dossier.csv").mkdir()
    os.mkfifo(folder / "tube.csv")
    ran = calanque("run", "--silo", SILO, home=lake.home)
    assert ran.returncode == 0, said(ran)
    for name, word in (("lien.csv", "link"), ("dehors.csv", "link"), ("dossier.csv", "folder"), ("tube.csv", "pipe")):
        assert any(name in line and word in line for line in said(ran).splitlines()), (name, said(ran))
        assert (folder / ".refused" / f"{name}.why.txt").read_text().startswith(name)
    assert figures(lake.home)[SILO]["deliveries"] == before
    assert secret.exists()
