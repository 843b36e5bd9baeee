"""Generation of random expressions in blocks: all trees of a block at once, depth by depth, without recursion.

A block is a function of parameters, seed, stream and block number, so that blocks can be made in any order.
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
from robustbench_wb.streams import RandomStream
from robustbench_wb.tasks.listops.expression import CLOSE, DIGITS, OPERATORS
from robustbench_wb.tasks.listops.expression_array import Expressions
from robustbench_wb.tasks.listops.vector_operators import apply_operators

BLOCK_TREES, BLOCK_SYMBOLS = 2048, 1 << 22
"""Largest number of trees in a block, and of symbols in a block whose trees all have the greatest length.

Both are part of the definition of the data, because they decide which random numbers a tree gets."""

Integers = NDArray[np.int64]


class ExpressionParameters(Spec):
    """Distribution of random expressions. Defaults: Long Range Arena (Tay et al. 2021, arXiv 2011.04006).

    Raises:
        UsageError: the limits of arguments or lengths allow no expression.
    """

    max_depth: int = Field(default=10, ge=2)
    """Depth at which every node is a digit; the root has depth 1."""
    expand: Exact = Field(default=Fraction(1, 4), gt=0, le=1)
    """Probability that a node of smaller depth is an operator; realised with a resolution of 1/2**32."""
    min_arguments: int = Field(default=2, ge=1)
    """Smallest number of arguments of an operator; all numbers up to ``max_arguments`` are equally likely."""
    max_arguments: int = Field(default=10, ge=1)
    """Largest number of arguments of an operator."""
    min_length: int = Field(default=500, ge=1)
    """Expressions are kept if they have more symbols. An operator counts 2: itself and its closing bracket."""
    max_length: int = Field(default=2000, ge=4)
    """Expressions are kept if they have fewer symbols."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_arguments > self.max_arguments:
            raise UsageError(f"min_arguments {self.min_arguments} is above max_arguments {self.max_arguments}")
        if self.max_length - self.min_length < 2:
            raise UsageError(f"no length is above min_length {self.min_length} and below max_length {self.max_length}")
        return self


def make_block(parameters: ExpressionParameters, seed: int, stream: str, number: int) -> Expressions:
    """Draw a fixed number of trees and return those with a length within the limits. Blocks are independent."""
    words = RandomStream(seed, stream, number)
    trees = max(1, min(BLOCK_TREES, BLOCK_SYMBOLS // parameters.max_length))
    nodes = _NONE
    levels = [nodes := _filled(arguments, nodes, words) for arguments in reversed(_shapes(parameters, trees, words))]
    levels.reverse()
    offsets = np.concatenate([[0], levels[0].lengths.cumsum()])
    return Expressions(
        symbols=_written(levels), offsets=offsets, labels=levels[0].values, tried=trees, accepted=len(levels[0].values)
    )


@dataclass(frozen=True, kw_only=True)
class _Nodes:
    """Nodes of one depth in the order of their parents; every array is int64 (nodes,)."""

    arguments: Integers
    """Number of arguments of each node; 0 for a digit."""
    symbols: Integers
    """Digit, or position of the operator among ``SYMBOLS``."""
    lengths: Integers
    """Number of symbols of the subtree."""
    values: Integers
    """Value of the subtree, 0 to 9."""


_EMPTY = np.zeros(0, np.int64)
_NONE = _Nodes(arguments=_EMPTY, symbols=_EMPTY, lengths=_EMPTY, values=_EMPTY)


def _starts(lengths: Integers) -> Integers:
    """Start of each part of a concatenation, from the lengths of the parts."""
    return lengths.cumsum() - lengths


def _shapes(parameters: ExpressionParameters, trees: int, words: RandomStream) -> list[Integers]:
    """Draw the shapes of trees: the number of arguments of each node, depth by depth, for trees within the limits.

    Digits and operators do not affect lengths and are drawn later. A tree that is too long is not grown further.
    """
    levels: list[tuple[Integers, Integers]] = []
    lengths = np.ones(trees, np.int64)
    tree = np.arange(trees)
    while len(tree):
        last = len(levels) + 1 == parameters.max_depth
        arguments = np.zeros_like(tree) if last else _arguments(parameters, len(tree), words)
        levels.append((tree, arguments))
        grown = np.bincount(tree, arguments + (arguments > 0), trees)  # the arguments and the closing bracket
        lengths += grown.astype(np.int64)
        tree = np.repeat(tree, np.where(lengths[tree] < parameters.max_length, arguments, 0))
    kept = (lengths > parameters.min_length) & (lengths < parameters.max_length)
    return [arguments[kept[tree]] for tree, arguments in levels]


def _arguments(parameters: ExpressionParameters, size: int, words: RandomStream) -> Integers:
    """Draw the number of arguments of ``size`` nodes, int64 (size,); 0 makes a node a digit."""
    arguments = np.zeros(size, np.int64)
    calls = np.flatnonzero(words.integers(1 << 32, size) < int(parameters.expand * (1 << 32)))
    choices = parameters.max_arguments - parameters.min_arguments + 1
    arguments[calls] = parameters.min_arguments + words.integers(choices, len(calls))
    return arguments


def _filled(arguments: Integers, children: _Nodes, words: RandomStream) -> _Nodes:
    """Draw the symbols of the nodes of one depth, and compute their lengths and values from their children."""
    calls = np.flatnonzero(arguments)
    many = arguments[calls]
    symbols = words.integers(DIGITS, len(arguments))
    symbols[calls] = DIGITS + words.integers(len(OPERATORS), len(calls))
    values, lengths = symbols.copy(), np.ones_like(symbols)
    lengths[calls] = 2 + np.add.reduceat(children.lengths, _starts(many))
    row = np.repeat(np.arange(len(calls)) * DIGITS, many)
    counts = np.bincount(row + children.values, minlength=len(calls) * DIGITS).reshape(len(calls), DIGITS)
    values[calls] = apply_operators(symbols[calls] - DIGITS, counts)
    return _Nodes(arguments=arguments, symbols=symbols, lengths=lengths, values=values)


def _written(levels: list[_Nodes]) -> NDArray[np.int8]:
    """Write the symbols of all trees in reading order, int8 (total symbols,)."""
    start = _starts(levels[0].lengths)
    symbols = np.empty(levels[0].lengths.sum(), np.int8)
    for nodes, children in pairwise([*levels, _NONE]):
        symbols[start] = nodes.symbols
        calls = np.flatnonzero(nodes.arguments)
        symbols[start[calls] + nodes.lengths[calls] - 1] = CLOSE
        many, within = nodes.arguments[calls], _starts(children.lengths)
        start = np.repeat(start[calls] + 1 - within[_starts(many)], many) + within
    return symbols
