"""The right format is recognised from the content; when none fits, the sentence says what to do."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import essai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.formats import recognition
from ingestion.formats.format import Dialect, Format, Sample
from ingestion.formats.recognition import header, header_has, named, recognise, sample
from ingestion.refusal import REFUSALS, Refused
from ingestion.register import Retention, Silo, silos

RULES = {"individual_level": "Only counts are accepted: deliver aggregates."}


def accepts(name: str, required: str, delimiter: str = ";", quote: str | None = '"') -> Format:
    columns = tuple(required.split())
    dialect = Dialect(delimiter, quote)
    return Format(
        name=name,
        title=name,
        dataset="essai",
        dialect=dialect,
        required=columns,
        recognise=header_has(dialect, columns),
        to_delivered=lambda frame: frame,
    )


def silo(name: str, *formats: Format) -> Silo:
    day = timedelta(days=1)
    return Silo(
        name=name,
        title=name,
        steward="personne",
        purpose="essai",
        legal_basis="essai",
        recipients=(),
        retention=Retention(day, day, None),
        privacy_unit="aucune",
        freshness=day,
        cadence="0 6 * * *",
        datasets=(essai.changed(essai.make("essai").datasets[0], rules=RULES),),
        accepts=lambda: formats,
        demo=essai.unexpected,
    )


COUNTS = silo(
    "comptages",
    accepts("capteur", "capteur jour nombre"),
    accepts("capteur_surface", "capteur jour nombre surface"),
    accepts("tabule", "lieu date_heure total", "\t", None),
)
TOWS = silo("enlevements", accepts("registre", "motif immatriculation enlevement", ","))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recognition, "silos", lambda: {COUNTS.name: COUNTS, TOWS.name: TOWS})


def starting(*lines: str) -> Sample:
    return Sample(lines=lines)


def refusal(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.rule in REFUSALS
    assert str(caught.value).startswith("f.csv: ")
    return caught.value


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("capteur;jour;nombre", "capteur"),
        ('"jour"; nombre ;autre;"capteur"', "capteur"),
        ("capteur;jour;nombre;surface", "capteur_surface"),
        ('lieu\tdate_heure\ttotal\t"', "tabule"),
    ],
)
def test_recognises_by_the_header_the_most_specific_format(line: str, name: str) -> None:
    assert recognise(COUNTS, starting(line, "1;2;3"), "f.csv").name == name


def test_says_when_two_formats_fit_equally() -> None:
    both = silo("comptages", accepts("un", "jour nombre"), accepts("deux", "jour capteur"))
    caught = refusal(lambda: recognise(both, starting("jour;nombre;capteur"), "f.csv"))
    assert caught.rule == "format_ambiguous"
    assert "un, deux" in str(caught)


def test_says_which_silo_it_is_for() -> None:
    caught = refusal(lambda: recognise(COUNTS, starting("motif,immatriculation,enlevement"), "f.csv"))
    assert caught.rule == "wrong_silo"
    assert "looks like format registre of silo enlevements" in str(caught)
    assert "Deliver it to enlevements (--silo enlevements)" in str(caught)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("capteur;jour", "column 'nombre' of format capteur is missing"),
        ("capteur;jour;Nombres", "column 'nombre' (is 'Nombres' its new name?) of format capteur is missing"),
        ("capteur;jour;xyz", "column 'nombre' of format capteur is missing"),
        ("lieu\ttotal\tdate heure", "'date_heure' (is 'date heure' its new name?)"),
        ("jours;capteur_;nombre;surface", "columns 'capteur' (is 'capteur_' its new name?), 'jour' (is 'jours' its"),
    ],
)
def test_says_which_column_is_missing_and_its_likely_new_name(line: str, says: str) -> None:
    caught = refusal(lambda: recognise(COUNTS, starting(line), "f.csv"))
    assert caught.rule == "columns_missing"
    assert says in str(caught)


def test_the_nearest_format_is_that_of_the_rarest_names() -> None:
    """Every format has a day and a number; one of them only has a sensor's height."""
    common = "jour nombre lieu"
    formats = [accepts(f"f{number}", f"{common} x{number}") for number in range(3)]
    rare = silo("comptages", *formats, accepts("rare", f"{common} hauteur capteur portee"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recognition, "silos", lambda: {rare.name: rare})
        caught = refusal(lambda: recognise(rare, starting("lieu;hauteur;capteur;portée;autre"), "f.csv"))
        assert "of format rare are missing (its header has 5)" in str(caught)
        caught = refusal(lambda: recognise(rare, starting("lieu;hauteur;un;deux;trois"), "f.csv"))
    assert "line 1 has 5 columns separated by semicolons, of which format rare knows 'lieu', 'hauteur'." in str(caught)
    assert "docs/formats.md says how another one is added" in str(caught)


def test_says_on_which_line_the_header_is() -> None:
    lines = ("Registre;;", "Export du 12/10/2026;;", "capteur;jour;nombre", "1;2;3")
    caught = refusal(lambda: recognise(COUNTS, starting(*lines), "f.csv"))
    assert caught.rule == "header_not_first"
    assert "the header of format capteur is on line 3" in str(caught)
    caught = refusal(lambda: named(COUNTS, "capteur", Sample(lines, first=2), "f.csv"))
    assert "is on line 4" in str(caught)


def test_says_of_which_format_the_header_is_missing() -> None:
    national = replace(
        accepts("national", "numero jour", "\t", None), layout=("numero", "jour", "lieu"), optional=("plaque",)
    )
    both = silo("comptages", COUNTS.formats[0], national)
    for line in ("7000000124\t\tSECRET", "7000000124\t2026-10-10 14:05:00\tSECRET\tAB-123-CD"):
        caught = refusal(lambda line=line: recognise(both, starting(line), "f.csv"))  # type: ignore[misc]
        assert caught.rule == "header_missing"
        columns = line.count("\t") + 1
        assert f"{columns} tab-separated columns without a header look like national" in str(caught)
        assert "SECRET" not in str(caught)
    caught = refusal(lambda: recognise(both, starting("number\tday\tplace"), "f.csv"))
    assert caught.rule == "format_unknown"


@pytest.mark.parametrize("line", ["CAPTEUR;JOUR;NOMBRE", ' Capteur ;"Jour ";nombre\u00a0'])
def test_case_and_blanks_of_the_names_do_not_matter(line: str) -> None:
    assert recognise(COUNTS, starting(line), "f.csv").name == "capteur"


def test_says_that_the_delimiter_is_another() -> None:
    caught = refusal(lambda: recognise(COUNTS, starting("capteur,jour,nombre"), "f.csv"))
    assert caught.rule == "format_mismatch"
    assert "columns of format capteur, but separated by commas" in str(caught)
    assert "with semicolons" in str(caught)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("<!DOCTYPE html>", "a web page"),
        ('{"type": 1}', "JSON"),
        ("[", "JSON"),
        ("AB-123-CD secret", "explains its first lines: line 1 has one column."),
        ("", "explains its first lines: line 1 has one column."),
        ("AB-123-CD;secret;1", "line 1 has 3 columns separated by semicolons."),
        ("lieu\tAB-123-CD", "2 columns separated by tabs, of which format tabule knows 'lieu'."),
    ],
)
def test_says_what_else_it_looks_like_without_quoting_it(line: str, says: str) -> None:
    caught = refusal(lambda: recognise(COUNTS, starting(line), "f.csv"))
    assert caught.rule == "format_unknown"
    assert says in str(caught)
    assert "capteur, capteur_surface, tabule" in str(caught)
    assert "AB-123" not in str(caught)


def test_a_forbidden_header_is_refused_whether_or_not_the_rest_fits() -> None:
    def individual(columns: tuple[str, ...]) -> str | None:
        return "individual_level" if "imsi" in columns else None

    feed = silo("presence", replace(accepts("presence", "zone nombre"), forbidden=individual))
    assert recognise(feed, starting("zone;nombre"), "f.csv").name == "presence"
    for beginning in (starting("zone;nombre;imsi"), starting("zone;imsi")):
        for caught in (
            refusal(partial(recognise, feed, beginning, "f.csv")),
            refusal(partial(named, feed, "presence", beginning, "f.csv")),
        ):
            assert caught.rule == "individual_level"
            assert str(caught).endswith("Only counts are accepted: deliver aggregates.")


def test_a_named_format_is_checked() -> None:
    assert named(COUNTS, "capteur", starting("capteur;jour;nombre;surface"), "f.csv").name == "capteur"
    assert refusal(lambda: named(COUNTS, "autre", starting("capteur;jour;nombre"), "f.csv")).rule == "format_unknown"
    assert refusal(lambda: named(COUNTS, "capteur", starting("x;y"), "f.csv")).rule == "format_mismatch"
    assert refusal(lambda: named(COUNTS, "capteur", starting("capteur;nombre"), "f.csv")).rule == "columns_missing"


def test_layouts_of_one_name_are_tried_in_turn() -> None:
    old, new = accepts("export", "jour nombre"), accepts("export", "date total")
    two = silo("comptages", old, new)
    assert recognise(two, starting("date;total"), "f.csv") is new
    assert named(two, "export", starting("date;total"), "f.csv") is new
    assert "is 'dates' its new name?" in str(refusal(lambda: named(two, "export", starting("dates;total"), "f.csv")))


def test_sample_is_the_beginning_decoded(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"\xef\xbb\xbf\r\n\n" + "é;b\r\n1\r2;3\r\n".encode() + b"x;y")
    assert sample(path).lines == ("é;b", "1 2;3", "x;y")
    path.write_bytes("é".encode() * 300_000 + b"\n")
    assert len(sample(path).lines) == 1
    path.write_bytes(b"a;b\n" * 300_000)
    assert set(sample(path).lines) == {"a;b"}
    path.write_bytes(gzip.compress(b"a;b\n"))  # recognition may be handed anything
    assert isinstance(sample(path), Sample)


@given(lines=st.lists(st.text(), max_size=5), quote=st.sampled_from(['"', None]), delimiter=st.sampled_from(";,\t|"))
def test_header_of_anything_is_a_tuple_of_names(lines: list[str], quote: str | None, delimiter: str) -> None:
    names = header(
        Sample(lines=tuple(line.replace("\r", " ").replace("\n", " ") for line in lines)), Dialect(delimiter, quote)
    )
    assert all(name == name.strip() for name in names)


def test_the_header_may_be_quoted_over_two_lines() -> None:
    assert header(starting('"a', 'b";c', "1;2"), Dialect(";")) == ("a\nb", "c")


def test_no_registered_format_recognises_the_header_of_another() -> None:
    for owner in silos().values():
        for accepted in owner.formats:
            if accepted.dialect.columns is None:
                header = Sample(lines=(accepted.dialect.delimiter.join(accepted.required),))
                assert {other.name for other in owner.formats if other.recognise(header)} == {accepted.name}
