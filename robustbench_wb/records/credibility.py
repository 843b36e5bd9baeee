"""One check of a number: what was measured, on how many samples, against which limit, and the grade that it allows."""

from collections.abc import Iterable
from typing import Final, Literal

from pydantic import TypeAdapter

from robustbench_wb.spec import Spec

Grade = Literal["A", "B", "C", "F"]
GRADES: Final[tuple[Grade, ...]] = ("A", "B", "C", "F")
"""From the best to the worst. A: nothing speaks against it. B: a small doubt, or a check that could not be made. C: the
number is likely too high. F: it says nothing about robustness, and is not ranked."""


class CredibilityCheck(Spec):
    """The outcome of one check. All numbers are plain, so that a row can hold it."""

    name: str
    grade: Grade
    """The best grade that this check allows."""
    value: float
    limit: float
    """``value`` may reach it without loss of grade."""
    samples: int
    """How many samples were looked at."""
    reason: str
    """One sentence with the figures, whatever the grade."""


_CHECKS: Final = TypeAdapter(tuple[CredibilityCheck, ...])


class Credibility(Spec):
    """The grade of a row and the checks behind it."""

    grade: Grade
    checks: tuple[CredibilityCheck, ...]


def combine(checks: tuple[CredibilityCheck, ...]) -> Credibility:
    """The worst grade of all checks."""
    worst = max((GRADES.index(check.grade) for check in checks), default=0)
    return Credibility(grade=GRADES[worst], checks=checks)


def read_checks(text: str) -> tuple[CredibilityCheck, ...]:
    """The checks of a row, from the JSON that it holds; none from an empty text."""
    return _CHECKS.validate_json(text) if text else ()


def worst_check(checks: Iterable[CredibilityCheck]) -> CredibilityCheck | None:
    """The first check that allows no better grade than the row has; None without checks."""
    return max(checks, key=lambda check: GRADES.index(check.grade), default=None)
