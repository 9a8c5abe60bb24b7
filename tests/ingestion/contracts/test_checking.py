"""A contract splits a batch: good rows unchanged and in order, every other row with all the rules it broke."""

from __future__ import annotations

from typing import Annotated

import pandera.polars as pa
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandera.api.polars.types import PolarsData

from ingestion.contracts.checking import REJECTS, ContractMismatchError, check

SECRET = "AB-123-CD"


class Delivered(pa.DataFrameModel):
    row: int
    zone: str = pa.Field(isin=["a", "b"])
    people: float = pa.Field(ge=0, nullable=True)
    code: pl.Binary = pa.Field(nullable=True)
    at: Annotated[pl.Datetime, "us", "UTC"] = pa.Field(nullable=True)

    @pa.check("people", name="people_absurd", raise_warning=True)
    @classmethod
    def few(cls, data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select(pl.col(data.key) < 1000)

    @pa.dataframe_check(error="crowded_in_b")
    @classmethod
    def whole(cls, data: PolarsData) -> pl.LazyFrame:
        return data.lazyframe.select((pl.col("zone") != "b") | (pl.col("people") < 10) | pl.col("people").is_null())


LINES = st.lists(
    st.tuples(
        st.integers(1, 30),
        st.sampled_from(["a", "b", SECRET, None]),
        st.sampled_from([None, -1.0, 0.0, 5.0, 50.0, 5000.0]),
        st.sampled_from([None, b"\xff\x00"]),
    ),
    max_size=40,
)


def frame(lines: list[tuple[int, str | None, float | None, bytes | None]]) -> pl.DataFrame:
    schema = {"row": pl.Int64, "zone": pl.String, "people": pl.Float64, "code": pl.Binary}
    return pl.DataFrame(lines, schema, orient="row").with_columns(at=pl.lit(None, pl.Datetime("us", "UTC")))


@given(LINES)
def test_good_lines_go_on_and_the_others_keep_every_rule(lines: list) -> None:
    def broken(line: tuple) -> set[tuple[str, str | None, str]]:
        _, zone, people, _ = line
        rules = {
            ("not_nullable", "zone", "error"): zone is None,
            ("isin", "zone", "error"): zone == SECRET,
            ("greater_than_or_equal_to", "people", "error"): people is not None and people < 0,
            ("people_absurd", "people", "warning"): people is not None and people >= 1000,
            ("crowded_in_b", None, "error"): zone == "b" and people is not None and people >= 10,
        }
        return {rule for rule, breaks in rules.items() if breaks}

    good, rejects = check(Delivered, frame(lines))

    kept = [line for line in lines if not any(severity == "error" for _, _, severity in broken(line))]
    assert good.equals(frame(kept))
    assert rejects.schema == REJECTS
    expected = {(line[0], *rule) for line in lines for rule in broken(line)}
    assert rejects.height == len(expected)
    assert set(rejects.rows()) == expected


def test_no_number_is_as_bad_as_a_null_where_neither_may_be() -> None:
    class Counted(pa.DataFrameModel):
        row: int
        people: float

    lines = pl.DataFrame({"row": [1, 2, 3], "people": [1.0, None, float("nan")]})
    good, rejects = check(Counted, lines)
    assert good["row"].to_list() == [1]
    assert set(rejects.rows()) == {(row, "not_nullable", "people", "error") for row in (2, 3)}


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda good: good.drop("people"), "people: column_not_in_dataframe"),
        (lambda good: good.with_columns(zone=pl.lit(7)), "zone: wrong_dtype"),
        (lambda good: good.with_columns(at=pl.lit(None, pl.Datetime("us"))), "at: wrong_dtype"),
    ],
)
def test_a_frame_of_another_shape_is_a_mistake_that_names_the_column(spoil: object, problem: str) -> None:
    with pytest.raises(ContractMismatchError, match=f"Delivered: .*{problem}"):
        check(Delivered, spoil(frame([(1, "a", 1.0, None)])))


def test_a_rule_that_cannot_be_evaluated_does_not_quote_the_value() -> None:
    class Fragile(pa.DataFrameModel):
        row: int
        plate: str

        @pa.check("plate", name="numeric")
        @classmethod
        def numeric(cls, data: PolarsData) -> pl.LazyFrame:
            return data.lazyframe.select(pl.col(data.key).cast(pl.Int64) > 0)

    with pytest.raises(ContractMismatchError, match="rule numeric fails") as caught:
        check(Fragile, pl.DataFrame({"row": [1], "plate": [SECRET]}))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert SECRET not in str(caught.value)
