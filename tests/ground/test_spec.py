"""Immutable specs and their canonical JSON form."""

import hashlib
from enum import Enum
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from robustbench_wb.errors import UsageError
from robustbench_wb.spec import Exact, Spec, canonical_json, digest, parse_exact, to_json_types


class Colour(Enum):
    RED = "red"


class Inner(Spec):
    eps: Exact


class Outer(Spec):
    inner: Inner
    colour: Colour = Colour.RED
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8/255", Fraction(8, 255)),
        ("0.031", Fraction(31, 1000)),
        (8, Fraction(8)),
        (Fraction(1, 3), Fraction(1, 3)),
    ],
)
def test_exact_numbers_are_read(text: object, value: Fraction) -> None:
    assert parse_exact(text) == value


@pytest.mark.parametrize("text", [0.031, True, "eight", "1/0", None, [1]])
def test_inexact_numbers_are_refused(text: object) -> None:
    with pytest.raises(UsageError, match="8/255"):
        parse_exact(text)


def test_canonical_form_is_pinned() -> None:
    value = Outer(inner=Inner(eps="16/510"), names=("b", "a"))
    text = '{"colour":"red","inner":{"eps":"8/255"},"names":["b","a"]}'
    assert canonical_json(value) == text
    assert value.digest() == digest(value) == hashlib.sha256(text.encode()).hexdigest()
    assert canonical_json({"é": 1.5, "a": None}) == '{"a":null,"é":1.5}'


def test_specs_are_frozen_and_closed() -> None:
    value = Inner(eps="1/2")
    with pytest.raises(ValidationError, match="frozen"):
        value.eps = Fraction(1)  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra"):
        Inner(eps="1/2", epsilon="1/2")  # type: ignore[call-arg]


def test_a_spec_survives_its_json() -> None:
    value = Outer(inner=Inner(eps="8/255"))
    assert Outer.model_validate_json(canonical_json(value)) == value


@pytest.mark.parametrize("value", [{1: 2}, {1, 2}, b"x", object()])
def test_what_has_no_json_form_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        to_json_types(value)


def test_nan_has_no_digest() -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest(float("nan"))


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.booleans() | st.none(), max_size=6))
def test_order_of_keys_does_not_count(value: dict[str, object]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))
