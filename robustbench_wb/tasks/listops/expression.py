"""One expression: its symbols, its strict parser and its value (Nangia & Bowman 2018, arXiv 1804.06028)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from robustbench_wb.errors import DataError
from robustbench_wb.tasks.vocabulary import SPECIAL

DIGITS = 10
OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
SYMBOLS = (*"0123456789", *OPERATORS, "]")
"""Digits, operators, the closing bracket. Their order is part of the data: a symbol's token id is :data:`FIRST` and its
position here."""
CLOSE = SYMBOLS.index("]")
FIRST = len(SPECIAL)
"""The token id of the digit 0; below it are the special tokens of every text task."""
VOCABULARY = FIRST + len(SYMBOLS)
"""All token ids are below it."""


def _median(digits: Sequence[int]) -> int:
    ordered = sorted(digits)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2


_RULES: dict[str, Callable[[Sequence[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    "[MED": _median,
    "[SM": lambda digits: sum(digits) % 10,
}


@dataclass(frozen=True)
class Call:
    """An operator and its arguments, at least one. ``[MED`` is the median without its half, ``[SM`` the sum modulo 10.

    The value is computed here, from those of the arguments: an expression may be nested deeper than Python recurses.
    """

    operator: str
    arguments: tuple["Tree", ...]
    value: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        value = _RULES[self.operator]([evaluate(argument) for argument in self.arguments])
        object.__setattr__(self, "value", value)


Tree = int | Call
"""A digit, or an operator applied to trees."""


def evaluate(tree: Tree) -> int:
    """The digit that an expression stands for, 0 to 9."""
    return tree if isinstance(tree, int) else tree.value


def parse(tokens: Iterable[int]) -> Tree:
    """The tree of token ids without ``[CLS]`` and padding.

    Raises:
        DataError: this is no expression; the message names the first symbol that is wrong, counted from 1.
    """
    waiting: list[tuple[str, list[Tree]]] = []
    whole: Tree | None = None
    place = 0
    for place, symbol in enumerate(_symbols(tokens), 1):
        if whole is not None:
            raise DataError(f"ListOps: symbol {place}, {symbol}, stands behind the end of the expression")
        if symbol in OPERATORS:
            waiting.append((symbol, []))
            continue
        found = _close(waiting, place) if symbol == "]" else int(symbol)
        if waiting:
            waiting[-1][1].append(found)
        else:
            whole = found
    if whole is None:
        reason = f"{waiting[-1][0]} is not closed" if waiting else "no expression"
        raise DataError(f"ListOps: {reason} after the last symbol, {place}")
    return whole


def _close(waiting: list[tuple[str, list[Tree]]], place: int) -> Call:
    if not waiting:
        raise DataError(f"ListOps: symbol {place}, ], closes nothing")
    operator, arguments = waiting.pop()
    if not arguments:
        raise DataError(f"ListOps: symbol {place}, ], closes {operator}, which has no argument")
    return Call(operator, tuple(arguments))


def _symbols(tokens: Iterable[int]) -> Iterable[str]:
    for place, token in enumerate(tokens, 1):
        if not FIRST <= token < VOCABULARY:
            raise DataError(f"ListOps: symbol {place} has the token id {token}, which none has")
        yield SYMBOLS[token - FIRST]


def to_text(tokens: Iterable[int]) -> str:
    """Token ids as ``[MAX 2 9 [MIN 4 7 ] 0 ]``.

    Raises:
        DataError: an id that no symbol has.
    """
    return " ".join(_symbols(tokens))


def to_tokens(text: str) -> list[int]:
    """The token ids of symbols between spaces. Whether they are an expression is for :func:`parse` to say.

    Raises:
        DataError: a word that is no symbol, such as an operator without its bracket.
    """
    tokens = []
    for place, word in enumerate(text.split(), 1):
        if word not in SYMBOLS:
            raise DataError(f"ListOps: symbol {place}, {word}, is none of {' '.join(SYMBOLS)}")
        tokens.append(FIRST + SYMBOLS.index(word))
    return tokens
