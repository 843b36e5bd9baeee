"""Independent ListOps reference: published generator as a recursion, its length distribution, and Python's parser."""

import random
import statistics
from typing import Any

import numpy as np

from robustbench_wb.tasks.listops.blocks import ExpressionParameters

Nested = int | tuple[str, list[Any]]

_FUNCTIONS: dict[str, Any] = {
    "MIN": lambda *digits: min(digits),
    "MAX": lambda *digits: max(digits),
    "MED": lambda *digits: int(statistics.median(digits)),
    "SM": lambda first, *others: sum(others, first) % 10,  # an operator without arguments is an error
}


def value(text: str) -> int | None:
    """Value of an expression evaluated by Python; None if Python cannot parse it."""
    code = " ".join(
        f"{word[1:]}(" if word[0] == "[" else "), " if word == "]" else f"{word}, " for word in text.split()
    )
    try:
        found = eval(code, {"__builtins__": {}, **_FUNCTIONS})
    except (SyntaxError, TypeError, ValueError, statistics.StatisticsError):
        return None
    return found[0] if len(found) == 1 else None


def tree(draw: random.Random, depth: int = 1) -> Nested:
    """Draw a random tree as in Long Range Arena."""
    if depth == 10 or draw.random() > 0.25:
        return draw.randrange(10)
    arguments = [tree(draw, depth + 1) for _ in range(draw.randint(2, 10))]
    return draw.choice(["[MIN", "[MAX", "[MED", "[SM"]), arguments


def length(nested: Nested) -> int:
    """Number of symbols: 1 for each digit and 2 for each operator."""
    return 1 if isinstance(nested, int) else 2 + sum(length(part) for part in nested[1])


def label(nested: Nested) -> int:
    """Value of a tree."""
    if isinstance(nested, int):
        return nested
    found: int = _FUNCTIONS[nested[0][1:]](*(label(part) for part in nested[1]))
    return found


def length_law(parameters: ExpressionParameters) -> np.ndarray:
    """Exact probability that a random tree has n symbols, for n below the greatest length.

    A tree is a digit, or 2 symbols and an independent tree of the next depth for each argument. The probabilities
    follow from powers of the generating function.
    """
    digit, brackets = np.eye(parameters.max_length)[1:3]
    expand, law = float(parameters.expand), digit
    for _ in range(parameters.max_depth - 1):
        power, total = brackets, np.zeros_like(law)
        for arguments in range(1, parameters.max_arguments + 1):
            power = np.convolve(power, law)[: len(law)]
            total += power * (arguments >= parameters.min_arguments)
        choices = parameters.max_arguments - parameters.min_arguments + 1
        law = (1 - expand) * digit + expand / choices * total
    return law
