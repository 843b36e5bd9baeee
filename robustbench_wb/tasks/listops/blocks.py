"""Blocks of random expressions, made level by level: all trees at once, no recursion, no text.

A block is a function of parameters, seed, stream and its number: any two can be made in any order.
"""

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from robustbench_wb.errors import UsageError
from robustbench_wb.spec import Exact, Spec
from robustbench_wb.streams import Words
from robustbench_wb.tasks.listops.expression import CLOSE, DIGITS, OPERATORS
from robustbench_wb.tasks.listops.expressions import Expressions
from robustbench_wb.tasks.listops.operators import apply

BLOCK_TREES, BLOCK_SYMBOLS = 2048, 1 << 22
"""Most trees of a block, and most symbols were all trees of the greatest length. They say which random numbers a tree
gets, and so are part of the data."""

Integers = NDArray[np.int64]


class Parameters(Spec):
    """How expressions are drawn; the defaults are those of Long Range Arena (Tay et al. 2021, arXiv 2011.04006)."""

    max_depth: int = Field(default=10, ge=2)
    """A node of this depth is a digit; the root has depth 1."""
    expand: Exact = Field(default=Fraction(1, 4), gt=0, le=1)
    """Probability that another node is an operator and no digit; realised to 1/2**32."""
    min_arguments: int = Field(default=2, ge=1)
    max_arguments: int = Field(default=10, ge=1)
    """An operator has between these many arguments, all equally likely."""
    min_length: int = Field(default=500, ge=1)
    """Kept are expressions with more symbols. A digit counts 1, an operator 2: itself and its closing bracket."""
    max_length: int = Field(default=2000, ge=4)
    """Kept are expressions with fewer symbols."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_arguments > self.max_arguments:
            raise UsageError(f"min_arguments {self.min_arguments} is above max_arguments {self.max_arguments}")
        if self.max_length - self.min_length < 2:
            raise UsageError(f"no length is above min_length {self.min_length} and below max_length {self.max_length}")
        return self


def make_block(parameters: Parameters, seed: int, stream: str, number: int) -> Expressions:
    """Those of a fixed number of new trees whose length is within the limits. Any two blocks are independent."""
    words = Words(seed, stream, number)
    trees = max(1, min(BLOCK_TREES, BLOCK_SYMBOLS // parameters.max_length))
    nodes = _NONE
    levels = [nodes := _filled(arguments, nodes, words) for arguments in reversed(_shapes(parameters, trees, words))]
    levels.reverse()
    offsets = np.concatenate([[0], levels[0].lengths.cumsum()])
    return Expressions(_written(levels), offsets, levels[0].values, trees, len(levels[0].values))


@dataclass(frozen=True)
class _Nodes:
    """The nodes of one depth, in the order of their parents."""

    arguments: Integers
    """How many each has; none if it is a digit."""
    symbols: Integers
    """A digit, or an operator's position among the symbols."""
    lengths: Integers
    """Symbols of the tree below."""
    values: Integers


_NONE = _Nodes(*(np.zeros(0, np.int64) for _ in range(4)))


def _starts(lengths: Integers) -> Integers:
    """Where each of several parts begins that lie in a row."""
    return lengths.cumsum() - lengths


def _shapes(parameters: Parameters, trees: int, words: Words) -> list[Integers]:
    """The number of arguments of each node, depth by depth, of the trees whose length is within the limits.

    Digits and operators have no say in that, and are drawn later. A tree that has grown too long grows no further.
    """
    levels: list[tuple[Integers, Integers]] = []
    lengths = np.ones(trees, np.int64)
    tree = np.arange(trees)
    while len(tree):
        last = len(levels) + 1 == parameters.max_depth
        arguments = np.zeros_like(tree) if last else _arguments(parameters, len(tree), words)
        levels.append((tree, arguments))
        grown = np.bincount(tree, arguments + (arguments > 0), trees)  # the arguments, and a closing bracket
        lengths += grown.astype(np.int64)
        tree = np.repeat(tree, np.where(lengths[tree] < parameters.max_length, arguments, 0))
    kept = (lengths > parameters.min_length) & (lengths < parameters.max_length)
    return [arguments[kept[tree]] for tree, arguments in levels]


def _arguments(parameters: Parameters, size: int, words: Words) -> Integers:
    """How many arguments each of ``size`` nodes gets."""
    arguments = np.zeros(size, np.int64)
    calls = np.flatnonzero(words.below(1 << 32, size) < int(parameters.expand * (1 << 32)))
    choices = parameters.max_arguments - parameters.min_arguments + 1
    arguments[calls] = parameters.min_arguments + words.below(choices, len(calls))
    return arguments


def _filled(arguments: Integers, children: _Nodes, words: Words) -> _Nodes:
    """Nodes with random symbols, and what follows from those of their children."""
    calls = np.flatnonzero(arguments)
    many = arguments[calls]
    symbols = words.below(DIGITS, len(arguments))
    symbols[calls] = DIGITS + words.below(len(OPERATORS), len(calls))
    values, lengths = symbols.copy(), np.ones_like(symbols)
    lengths[calls] = 2 + np.add.reduceat(children.lengths, _starts(many))
    row = np.repeat(np.arange(len(calls)) * DIGITS, many)
    counts = np.bincount(row + children.values, minlength=len(calls) * DIGITS).reshape(len(calls), DIGITS)
    values[calls] = apply(symbols[calls] - DIGITS, counts)
    return _Nodes(arguments, symbols, lengths, values)


def _written(levels: list[_Nodes]) -> NDArray[np.int8]:
    """The symbols of all trees in a row, each in the order in which it is read."""
    start = _starts(levels[0].lengths)
    symbols = np.empty(levels[0].lengths.sum(), np.int8)
    for nodes, children in pairwise([*levels, _NONE]):
        symbols[start] = nodes.symbols
        calls = np.flatnonzero(nodes.arguments)
        symbols[start[calls] + nodes.lengths[calls] - 1] = CLOSE
        many, within = nodes.arguments[calls], _starts(children.lengths)
        start = np.repeat(start[calls] + 1 - within[_starts(many)], many) + within
    return symbols
