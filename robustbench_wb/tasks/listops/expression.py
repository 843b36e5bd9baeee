"""Symbols of ListOps expressions, a strict parser, and evaluation (Nangia & Bowman 2018, arXiv 1804.06028)."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from robustbench_wb.errors import DataError
from robustbench_wb.tasks.task_tokenizer import SPECIAL

DIGITS = 10
OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
SYMBOLS = (*"0123456789", *OPERATORS, "]")
"""Digits, operators and the closing bracket. The token id of a symbol is ``FIRST`` plus its position here."""
CLOSE = SYMBOLS.index("]")
FIRST_SYMBOL_ID = len(SPECIAL)
"""Token id of the digit 0. Smaller ids are the special tokens that all text tasks share."""
VOCABULARY = FIRST_SYMBOL_ID + len(SYMBOLS)
"""Number of token ids."""


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
class OperatorCall:
    """Operator with at least one argument. ``[MED`` is the median rounded down, ``[SM`` is the sum modulo 10.

    The value is computed at construction from those of the arguments, because an expression can be nested deeper than
    Python's recursion limit.
    """

    operator: str
    arguments: tuple["Tree", ...]
    value: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        value = _RULES[self.operator]([evaluate(argument) for argument in self.arguments])
        object.__setattr__(self, "value", value)


Tree = int | OperatorCall
"""Expression: a digit, or an operator applied to expressions."""


def evaluate(tree: Tree) -> int:
    """Value of an expression, 0 to 9."""
    return tree if isinstance(tree, int) else tree.value


def parse(tokens: Iterable[int]) -> Tree:
    """Parse token ids, without ``[CLS]`` and padding, to an expression.

    Raises:
        DataError: the ids are not one expression; the message gives the position of the first wrong symbol, from 1.
    """
    waiting: list[tuple[str, list[Tree]]] = []
    whole: Tree | None = None
    place = 0
    for place, symbol in enumerate(_symbols(tokens), 1):
        if whole is not None:
            raise DataError(f"ListOps: symbol {place}, {symbol}, follows the end of the expression")
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


def _close(waiting: list[tuple[str, list[Tree]]], place: int) -> OperatorCall:
    if not waiting:
        raise DataError(f"ListOps: symbol {place}, ], closes nothing")
    operator, arguments = waiting.pop()
    if not arguments:
        raise DataError(f"ListOps: symbol {place}, ], closes {operator}, which has no argument")
    return OperatorCall(operator, tuple(arguments))


def _symbols(tokens: Iterable[int]) -> Iterable[str]:
    for place, token in enumerate(tokens, 1):
        if not FIRST_SYMBOL_ID <= token < VOCABULARY:
            raise DataError(f"ListOps: symbol {place} has the unknown token id {token}")
        yield SYMBOLS[token - FIRST_SYMBOL_ID]


def to_text(tokens: Iterable[int]) -> str:
    """Write token ids as text such as ``[MAX 2 9 [MIN 4 7 ] 0 ]``.

    Raises:
        DataError: an id is not that of a symbol.
    """
    return " ".join(_symbols(tokens))


def to_tokens(text: str) -> list[int]:
    """Convert space-separated symbols to token ids, without checking that they form an expression.

    Raises:
        DataError: a word is not a symbol, for example an operator without its bracket.
    """
    tokens = []
    for place, word in enumerate(text.split(), 1):
        if word not in SYMBOLS:
            raise DataError(f"ListOps: symbol {place}, {word}, is not one of {' '.join(SYMBOLS)}")
        tokens.append(FIRST_SYMBOL_ID + SYMBOLS.index(word))
    return tokens
