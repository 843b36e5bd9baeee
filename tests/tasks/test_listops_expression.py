"""ListOps parser and values compared with Python's own parser and ``statistics``."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_wb.errors import DataError
from robustbench_wb.tasks.listops.blocks import ExpressionParameters
from robustbench_wb.tasks.listops.expression import (
    OPERATORS,
    SYMBOLS,
    OperatorCall,
    evaluate,
    parse,
    to_text,
    to_tokens,
)
from robustbench_wb.tasks.listops.generate import generate_expressions
from robustbench_wb.tasks.listops.vector_operators import apply_operators
from tests.tasks import listops_reference as reference

SHORT = generate_expressions(
    10_000, ExpressionParameters(min_length=16, max_length=96, max_depth=5), seed=0, stream="tests"
)
LONG = generate_expressions(100, ExpressionParameters(), seed=0, stream="tests")


def strict(text: str) -> int | None:
    """Value from the package's parser; None if it rejects the text."""
    try:
        return evaluate(parse(to_tokens(text)))
    except DataError:
        return None


def test_token_ids_are_frozen() -> None:
    assert to_tokens("0 1 2 3 4 5 6 7 8 9 [MIN [MAX [MED [SM ]") == list(range(5, 20))


def test_known_values() -> None:
    assert parse(to_tokens("[MAX 2 9 [MIN 4 7 ] 0 ]")) == OperatorCall("[MAX", (2, 9, OperatorCall("[MIN", (4, 7)), 0))
    known = {"[MAX 2 9 [MIN 4 7 ] 0 ]": 9, "[MED 1 4 ]": 2, "[MED 9 1 4 ]": 4, "[SM 9 9 [MED 3 ] ]": 1, "7": 7}
    assert {text: strict(text) for text in known} == known


@pytest.mark.slow(3)
@pytest.mark.no_cover
def test_10_000_expressions_against_python() -> None:
    for expressions in (SHORT, LONG):
        for row in range(len(expressions)):
            text = to_text(expressions.tokens(row))
            label = expressions.labels[row]
            assert reference.value(text) == strict(text) == label
            assert to_tokens(text) == expressions.tokens(row).tolist()


def test_operators_on_all_short_lists() -> None:
    lists = [digits for size in range(1, 6) for digits in combinations_with_replacement(range(10), size)]
    counts = np.stack([np.bincount(digits, minlength=10) for digits in lists])
    for operator, name in enumerate(OPERATORS):
        expected = [reference.value(f"{name} {' '.join(map(str, digits))} ]") for digits in lists]
        assert apply_operators(np.full(len(lists), operator), counts).tolist() == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no expression after the last symbol, 0"),
        ("[MAX 2 [MIN 3 ]", "[MAX is not closed after the last symbol, 5"),
        ("[MAX 2 ] ] 3", "symbol 4, ], follows the end of the expression"),
        ("4 2", "symbol 2, 2, follows the end of the expression"),
        ("] 2", "symbol 1, ], closes nothing"),
        ("[MAX 2 [MIN ] 3 ]", "symbol 4, ], closes [MIN, which has no argument"),
        ("[MAX MIN 2 ] ]", "symbol 2, MIN, is not one of 0 1 2 3 4 5 6 7 8 9 [MIN [MAX [MED [SM ]"),
        ("[MAX 2 10 ]", "symbol 3, 10, is not one of 0 1 2 3 4 5 6 7 8 9 [MIN [MAX [MED [SM ]"),
    ],
)
def test_what_is_no_expression(text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse(to_tokens(text))
    assert str(caught.value) == f"ListOps: {message}"


@pytest.mark.parametrize("token", [-1, 0, 4, 20])
def test_ids_that_no_symbol_has(token: int) -> None:
    for read in (parse, to_text):
        with pytest.raises(DataError, match=f"symbol 2 has the unknown token id {token}"):
            read([15, token, 19])


@given(st.lists(st.sampled_from(SYMBOLS), max_size=12))
def test_any_symbols_are_refused_as_python_refuses_them(symbols: list[str]) -> None:
    assert strict(" ".join(symbols)) == reference.value(" ".join(symbols))


@given(st.integers(0, len(SHORT) - 1), st.data())
def test_one_edit_is_refused_or_has_the_value_that_python_finds(row: int, data: st.DataObject) -> None:
    words = to_text(SHORT.tokens(row)).split()
    place = data.draw(st.integers(0, len(words) - 1))
    symbol = data.draw(st.sampled_from(SYMBOLS))
    for edited in (
        words[:place] + words[place + 1 :],
        [*words[:place], symbol, *words[place:]],
        [*words[:place], symbol, *words[place + 1 :]],
    ):
        assert strict(" ".join(edited)) == reference.value(" ".join(edited))
    for bracket in (at for at, word in enumerate(words) if word in (*OPERATORS, "]")):
        assert strict(" ".join(words[:bracket] + words[bracket + 1 :])) is None


def test_nested_deeper_than_python_recurses() -> None:
    assert strict("[MAX " * 50_000 + "3" + " ]" * 50_000) == 3
