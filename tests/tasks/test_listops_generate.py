"""Generated expressions compared with published statistics, a recursive generator, and the exact distribution."""

import hashlib
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, chi2_contingency, chisquare, ks_2samp

from robustbench_wb.errors import DataError, UsageError
from robustbench_wb.progress import Advance, SilentProgress
from robustbench_wb.tasks.listops.blocks import ExpressionParameters, make_block
from robustbench_wb.tasks.listops.expression import DIGITS, FIRST_SYMBOL_ID, OPERATORS, SYMBOLS, to_text, to_tokens
from robustbench_wb.tasks.listops.expression_array import Expressions, token_matrix
from robustbench_wb.tasks.listops.generate import balanced_labels, generate_expressions, generate_labelled_expressions
from tests.tasks import listops_reference as reference

LEVEL = 0.001
"""Significance level. Samples are fixed; a correct generator rarely fails any of about twenty tests at this level."""
SHORT = ExpressionParameters(min_length=64, max_length=256, max_depth=6)


@pytest.fixture(scope="module")
def published() -> Expressions:
    return generate_expressions(10_000, ExpressionParameters(), seed=0, stream="tests")


def depths(expressions: Expressions) -> np.ndarray:
    """Number of open operators after each symbol, over all expressions."""
    opening = (expressions.symbols >= DIGITS) & (expressions.symbols < DIGITS + len(OPERATORS))
    return np.cumsum(opening.astype(int) - (expressions.symbols == SYMBOLS.index("]")))


def root_arguments(expressions: Expressions) -> list[int]:
    """Number of arguments of each root: digits and closing brackets directly below it."""
    depth = depths(expressions)
    complete = (depth == 1) & (np.diff(depth, prepend=0) <= 0)
    return np.add.reduceat(complete, expressions.offsets[:-1], dtype=int).tolist()


def digest(expressions: Expressions) -> str:
    arrays = (expressions.symbols, expressions.offsets, expressions.labels)
    return hashlib.sha256(b"".join(array.astype("<i8").tobytes() for array in arrays)).hexdigest()[:16]


def test_published_statistics(published: Expressions) -> None:
    acceptance = published.accepted / published.tried
    assert abs(acceptance - 0.082) < 0.0005 + 3 * (0.082 * 0.918 / published.tried) ** 0.5  # known to three digits
    error = published.lengths.std() / len(published) ** 0.5
    assert abs(published.lengths.mean() - 1035) < 3 * error
    assert published.lengths.min() > 500
    assert published.lengths.max() < 2000
    shares = np.bincount(published.labels) / len(published)
    sampling = 3 * (shares * (1 - shares) / len(published)) ** 0.5
    assert (np.abs(shares - 0.168)[[0, 9]] < sampling[[0, 9]]).all()
    assert (shares[1:9] > 0.073 - sampling[1:9]).all()
    assert (shares[1:9] < 0.091 + sampling[1:9]).all()
    symbols = np.bincount(published.symbols)  # equally likely for trees of any shape
    assert chisquare(symbols[:DIGITS]).pvalue > LEVEL
    assert chisquare(symbols[DIGITS:-1]).pvalue > LEVEL
    ends = published.offsets[1:] - 1
    assert (depths(published)[ends] == 0).all()
    deepest = np.maximum.reduceat(depths(published), published.offsets[:-1])
    assert (deepest == 9).all()


@pytest.mark.parametrize(
    "parameters",
    [
        ExpressionParameters(),
        SHORT,
        ExpressionParameters(max_depth=4, expand="2/3", min_arguments=1, max_arguments=3, min_length=1, max_length=50),
    ],
    ids=["published", "short", "few arguments"],
)
def test_the_exact_law_of_the_length(parameters: ExpressionParameters) -> None:
    blocks = [make_block(parameters, seed=0, stream="tests", number=number) for number in range(60)]
    tried, lengths = sum(block.tried for block in blocks), np.concatenate([block.lengths for block in blocks])
    law = reference.length_law(parameters)[parameters.min_length + 1 :]
    assert binomtest(len(lengths), tried, law.sum()).pvalue > LEVEL
    counts = np.bincount(lengths, minlength=parameters.max_length)[parameters.min_length + 1 :]
    bins = np.floor(np.cumsum(law) / law.sum() * 19.999)  # about equally likely
    expected = np.bincount(bins.astype(int), law / law.sum() * len(lengths))
    observed = np.bincount(bins.astype(int), counts)
    assert not counts[law == 0].any()
    assert chisquare(observed[expected > 0], expected[expected > 0]).pvalue > LEVEL


@pytest.mark.no_cover
@pytest.mark.parametrize("size", [1000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_the_same_law_as_a_recursion(size: int) -> None:
    found = generate_expressions(3 * size, ExpressionParameters(), seed=0, stream="recursion")
    draw, tried = random.Random(1), 0
    kept: list[Any] = []
    while len(kept) < size:
        one = reference.tree(draw)
        tried += 1
        if 500 < reference.length(one) < 2000:
            kept.append(one)
    accepted = [[found.accepted, found.tried - found.accepted], [size, tried - size]]
    assert chi2_contingency(accepted).pvalue > LEVEL
    assert ks_2samp(found.lengths, [reference.length(one) for one in kept]).pvalue > LEVEL
    labels = np.bincount([reference.label(one) for one in kept], minlength=10)
    assert chi2_contingency([np.bincount(found.labels), labels]).pvalue > LEVEL
    # The limits of the length affect the number of arguments of the root.
    arguments = [[len(one[1]) for one in kept if not isinstance(one, int)], root_arguments(found)]
    assert chi2_contingency([np.bincount(many, minlength=11)[2:] for many in arguments]).pvalue > LEVEL


def test_the_exact_law_of_tiny_trees() -> None:
    tiny = ExpressionParameters(max_depth=2, min_arguments=2, max_arguments=4, min_length=3, max_length=7)
    blocks = [make_block(tiny, seed=0, stream="tests", number=number) for number in range(20)]
    tried, accepted = sum(block.tried for block in blocks), sum(block.accepted for block in blocks)
    assert chisquare([accepted, tried - accepted], [tried / 4, tried * 3 / 4]).pvalue > LEVEL
    lengths = np.concatenate([block.lengths for block in blocks])
    assert chisquare(np.bincount(lengths, minlength=7)[4:]).pvalue > LEVEL
    symbols = np.bincount(np.concatenate([block.symbols for block in blocks]))
    assert chisquare(symbols[:DIGITS]).pvalue > LEVEL
    assert chisquare(symbols[DIGITS:-1]).pvalue > LEVEL
    assert symbols[-1] == accepted


def test_all_expressions_there_are_and_not_one_more() -> None:
    pairs = ExpressionParameters(max_depth=2, min_arguments=2, max_arguments=2, min_length=3, max_length=5)
    found = generate_expressions(400, pairs, seed=0, stream="tests")
    expected = {f"{operator} {a} {b} ]" for operator in OPERATORS for a in range(10) for b in range(10)}
    assert {to_text(found.tokens(row)) for row in range(400)} == expected
    with pytest.raises(DataError, match="400 of 401 were found"):
        generate_expressions(401, pairs, seed=0, stream="tests")


def test_no_expression_of_such_a_length() -> None:
    with pytest.raises(DataError, match="2048000 random trees in a row gave no new wanted expression"):
        generate_expressions(
            1, ExpressionParameters(max_depth=2, min_length=100, max_length=200), seed=0, stream="tests"
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_arguments": 5, "max_arguments": 4}, "min_arguments 5 is above max_arguments 4"),
        ({"min_length": 9, "max_length": 10}, "no length is above min_length 9 and below max_length 10"),
    ],
)
def test_parameters_that_allow_nothing(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExpressionParameters(**wrong)


def test_bytes_are_frozen_in_any_process_and_without_torch() -> None:
    script = (
        "import sys, hashlib, numpy as np\n"
        "from robustbench_wb.tasks.listops.blocks import ExpressionParameters\n"
        "from robustbench_wb.tasks.listops.generate import generate_expressions\n"
        "found = generate_expressions(300, ExpressionParameters(), 7, 'golden')\n"
        "arrays = (found.symbols, found.offsets, found.labels)\n"
        "print(hashlib.sha256(b''.join(array.astype('<i8').tobytes() for array in arrays)).hexdigest()[:16])\n"
        "print(sorted({'torch', 'pandas', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n")[:2] == ["a6c9b27f2c4fd90c", "[]"]
    assert digest(generate_expressions(300, ExpressionParameters(), seed=7, stream="golden")) == "a6c9b27f2c4fd90c"


def test_blocks_in_any_order_and_of_their_own() -> None:
    forward = [make_block(SHORT, seed=1, stream="a", number=number) for number in range(4)]
    backward = [make_block(SHORT, seed=1, stream="a", number=number) for number in reversed(range(4))]
    assert [digest(block) for block in forward] == [digest(block) for block in reversed(backward)]
    others = [make_block(SHORT, seed=2, stream="a", number=0), make_block(SHORT, seed=1, stream="b", number=0)]
    assert len({digest(block) for block in (*forward, *others)}) == 6


def test_more_expressions_begin_with_the_same() -> None:
    few, many = (
        generate_expressions(50, SHORT, seed=0, stream="tests"),
        generate_expressions(900, SHORT, seed=0, stream="tests"),
    )
    assert (few.symbols == many.symbols[: few.offsets[-1]]).all()
    assert (few.labels == many.labels[:50]).all()
    assert len(generate_expressions(0, SHORT, seed=0, stream="tests")) == 0


def test_no_expression_comes_twice() -> None:
    pairs = ExpressionParameters(max_depth=2, min_arguments=2, max_arguments=3, min_length=3, max_length=6)
    found = generate_expressions(2000, pairs, seed=0, stream="tests")  # of 4,400
    assert len({to_text(found.tokens(row)) for row in range(2000)}) == 2000


def test_given_labels_get_the_first_expressions_of_their_label() -> None:
    plain = generate_expressions(3000, SHORT, seed=0, stream="tests")
    labels = balanced_labels(1000, 0, "tests")
    found = generate_labelled_expressions(labels, SHORT, seed=0, stream="tests")
    assert (found.labels == labels).all()
    for label in range(10):
        ours, theirs = np.flatnonzero(labels == label), np.flatnonzero(plain.labels == label)
        for row, other in zip(ours, theirs[: len(ours)], strict=True):
            assert (found.tokens(int(row)) == plain.tokens(int(other))).all()
    long = generate_labelled_expressions(labels[:100], ExpressionParameters(), seed=0, stream="tests")
    assert (long.labels == labels[:100]).all()
    assert long.lengths.min() > 500


def test_balanced_labels() -> None:
    assert np.bincount(balanced_labels(1000, 0, "tests")).tolist() == [100] * 10
    assert sorted(np.bincount(balanced_labels(1003, 0, "tests"))) == [100] * 7 + [101] * 3
    labels = balanced_labels(20_000, 0, "tests")
    assert (labels != balanced_labels(20_000, 1, "tests")).any()
    pairs = np.bincount(labels[:-1:2] * 10 + labels[1::2], minlength=100)
    assert chisquare(pairs).pvalue > LEVEL


@pytest.mark.parametrize("label", [-1, 10])
def test_labels_that_no_expression_has(label: int) -> None:
    with pytest.raises(UsageError, match="labels must be from 0 to 9"):
        generate_labelled_expressions(np.array([3, label]), SHORT, seed=0, stream="tests")


def test_progress_adds_up() -> None:
    told: list[int] = []

    class Heard(SilentProgress):
        @contextmanager
        def stage(self, label: str, total: int, unit: str) -> Iterator[Advance]:
            told.append(-total)
            yield told.append

    generate_expressions(500, SHORT, seed=0, stream="tests", progress=Heard())
    assert told[0] == -500
    assert sum(told) == 0


def test_token_matrix() -> None:
    found = generate_expressions(20, SHORT, seed=0, stream="tests")
    rows = [7, 3, 3, 19]
    matrix = token_matrix(found, rows, 256)
    assert (matrix.dtype, matrix.shape) == (np.int32, (4, 256))
    for row, line in zip(rows, matrix.tolist(), strict=True):
        tokens = to_tokens(to_text(found.tokens(row)))
        assert line == [2, *tokens, *[0] * (255 - len(tokens))]
    assert matrix.max() < FIRST_SYMBOL_ID + len(SYMBOLS)


def test_an_expression_that_does_not_fit_is_not_cut() -> None:
    found = generate_expressions(20, SHORT, seed=0, stream="tests")
    longest = int(found.lengths.argmax())
    length = int(found.lengths[longest])
    assert (token_matrix(found, [longest], length + 1) != 0).all()
    with pytest.raises(DataError, match=f"expression {longest} has {length} symbols, at most {length - 1} fit"):
        token_matrix(found, [longest], length)
