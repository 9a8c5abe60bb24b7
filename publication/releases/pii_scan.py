"""The last look before publication: personal data in the candidate file itself, whatever made it.

Independent of the contract's rules about values: it reads the physical file (schema, metadata, statistics, values) and
knows what identifiers look like. It reports the column and the rule, never the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from publication.contracts import Contract, Reference, Violation

# Words, within a column's name, of things that single a person out. French and English, as delivered files use both.
_NAMES = frozenset(
    """
    plate plates plaque plaques immatriculation immat licence license vin vehicle vehicule
    pseudonym pseudonyme pseudo hmac hash sha256 sha1 md5 digest token fingerprint uuid guid key
    record row delivery
    phone telephone tel mobile msisdn imsi imei iccid tmsi mac ip
    email mail courriel
    firstname lastname surname prenom patronyme birth naissance ssn nir
    agent matricule badge officer
    address adresse street rue lon lat longitude latitude gps coord coordinates geom geometry wkt wkb
    photo image url comment commentaire note text texte
    """.split()  # noqa: SIM905
)

_START = r"(?:[^0-9A-Za-z]|^)"
_END = r"(?:[^0-9A-Za-z]|$)"

# Searched in every distinct text of a column. No look-around: Polars' engine has none.
_PATTERNS: Mapping[str, str] = {
    "phone": _START + r"(?:(?:\+|00)[1-9][0-9]{0,2}[ .-]?(?:\(0\))?|0)[1-9](?:[ .-]?[0-9]{2}){4}" + _END,
    "long_number": _START + r"[0-9]{9,}" + _END,  # IMSI, IMEI, a phone without its zero, a record number
    "email": r"[0-9A-Za-z._%+-]+@[0-9A-Za-z-]+\.[A-Za-z]{2,}",
    "hash": _START + r"(?:0x)?[0-9A-Fa-f]{28,}" + _END,
    "base64": _START + r"[0-9A-Za-z+/_-]{22,}={0,2}" + r"(?:\s|$)",
    "uuid": r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
    "mac_address": r"(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}",
    "ip_address": _START + r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}" + _END,
    "precise_position": r"[-+]?[0-9]{1,3}\.[0-9]{4,}",
    "link": r"[A-Za-z][A-Za-z0-9+.-]*://",
}

MOST_DISTINCT = 5_000
"""More different texts than this are no list of zones, places or categories."""

MOST_LETTERS = 120
"""A longer text is a sentence, not a name."""

LARGEST_NUMBER = 1_000_000_000
"""Numbers from here on are as long as a phone number; no count of a city's quarter is."""

# What a match must hold as well to be taken for more than a word: plates have digits, random bytes have everything.
_EVIDENCE: Mapping[str, Sequence[str]] = {"plate": ("[0-9]",), "base64": ("[0-9]", "[A-Z]", "[a-z]")}

_ALLOWED_METADATA = frozenset({b"ARROW:schema"})


@dataclass(frozen=True)
class Public:
    """Texts that are public before any data arrives: zones, areas, the contract's own words. They need no scan."""

    texts: frozenset[str]

    @classmethod
    def of(cls, contract: Contract, reference: Reference) -> Public:
        words = {
            str(value)
            for dimension in contract.dimensions
            if dimension.names is None
            for value in dimension.values(reference)
        }
        ground = {*reference.zones, *reference.zones.values(), *reference.areas, *reference.areas.values()}
        return cls(frozenset(words | ground | {contract.measure.hidden}))


def scan(path: Path, contract: Contract, plates: Sequence[str], public: Public) -> list[Violation]:
    """What in the Parquet file at ``path`` could be personal data; empty when nothing.

    ``plates`` are the patterns of whole number plates of the city, upper case.
    """
    with pq.ParquetFile(path) as file:
        found = [*_schema(file.schema, contract), *_metadata(file.metadata, _patterns(plates), public)]
        readable = [
            field.name for field in file.schema_arrow if pa.types.is_primitive(field.type) or _is_text(field.type)
        ]
        if _repeated(file.schema_arrow.names):
            return found
        frame = pl.DataFrame(file.read(columns=readable))
    for name, kind in frame.schema.items():
        if kind == pl.String:
            found += _text(frame, name, contract, _patterns(plates), public)
        elif kind.is_numeric():
            found += _number(frame[name])
    return found


def _patterns(plates: Sequence[str]) -> Mapping[str, str]:
    return {f"plate_{number}": rf"{_START}(?:{plate}){_END}" for number, plate in enumerate(plates, 1)} | dict(
        _PATTERNS
    )


def _repeated(names: Sequence[str]) -> bool:
    return len(set(names)) != len(names)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _schema(schema: pq.ParquetSchema, contract: Contract) -> Iterator[Violation]:
    """Columns that the contract does not name, are not plain values, or are named like an identifier."""
    names = [schema.column(number).path for number in range(len(schema.names))]
    if _repeated(names):
        yield Violation("gate.column_repeated", None, None)
    for number, name in enumerate(names):
        column = schema.column(number)
        if name not in contract.columns:
            yield Violation("gate.column_not_in_contract", name, None)
        if "." in name or column.max_repetition_level > 0:
            yield Violation("gate.nested_column", name, None)
        is_text = column.logical_type.type == "STRING"
        if column.physical_type in {"BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY", "INT96"} and not is_text:
            yield Violation("gate.binary_column", name, None)
        words = re.split(r"[^0-9a-z]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
        if _NAMES.intersection(words):
            yield Violation("gate.identifier_name", name, None)


def _metadata(metadata: pq.FileMetaData, patterns: Mapping[str, str], public: Public) -> Iterator[Violation]:
    """Key-value metadata, and the extremes that a file keeps of each text column, which need not be among its rows."""
    for key in metadata.metadata or {}:
        if key not in _ALLOWED_METADATA:
            yield Violation("gate.metadata", None, None)
    for rule in _matching(pl.Series([metadata.created_by or ""]), patterns):
        yield Violation(f"gate.metadata.{rule}", None, None)
    extremes: dict[str, set[str]] = {}
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(number)
            statistics = chunk.statistics
            if statistics is None or not statistics.has_min_max:
                continue
            extremes.setdefault(chunk.path_in_schema, set()).update(
                value for value in (statistics.min, statistics.max) if isinstance(value, str)
            )
    for name, values in extremes.items():
        for rule in _matching(pl.Series(sorted(values - public.texts), dtype=pl.String), patterns):
            yield Violation(f"gate.statistics.{rule}", name, None)


def _text(
    frame: pl.DataFrame, name: str, contract: Contract, patterns: Mapping[str, str], public: Public
) -> Iterator[Violation]:
    """Texts that look like an identifier, and columns whose texts are too many, too long or one per row."""
    column = frame[name]
    texts = column.drop_nulls().unique()
    if len(texts) > MOST_DISTINCT:
        yield Violation("gate.too_many_distinct", name, len(texts))
    if len(texts) == column.len() > 1 and not _explained(frame, name, contract):
        yield Violation("gate.one_value_per_row", name, column.len())
    unknown = texts.filter(~texts.is_in(list(public.texts)))
    if (unknown.str.len_chars() > MOST_LETTERS).any():
        yield Violation("gate.long_text", name, None)
    for rule in _matching(unknown, patterns):
        yield Violation(f"gate.{rule}", name, None)


def _explained(frame: pl.DataFrame, name: str, contract: Contract) -> bool:
    """Whether one value per row is the grid's doing: a dimension, or its name, and the rest of the grain constant."""
    own = next((each.column for each in contract.dimensions if name in (each.column, each.name)), None)
    if own is None:
        return False
    others = [column for column in contract.grain if column != own and column in frame.columns]
    return bool(frame.select(pl.struct(others).n_unique()).item() == 1)


def _number(column: pl.Series) -> Iterator[Violation]:
    if (column.abs() >= LARGEST_NUMBER).any():
        yield Violation("gate.long_number", column.name, None)


def _matching(texts: pl.Series, patterns: Mapping[str, str]) -> Iterator[str]:
    """The names of the patterns that some text matches. Plates are looked for in any letter case."""
    upper = texts.str.to_uppercase()
    for rule, pattern in patterns.items():
        kind = rule.partition("_")[0]
        found = (upper if kind == "plate" else texts).str.extract_all(pattern).explode().drop_nulls()
        for evidence in _EVIDENCE.get(kind, ()):
            found = found.filter(found.str.contains(evidence))
        if len(found):
            yield rule
