"""Credibility of a result: its grade, and the checks behind it."""

from collections.abc import Iterable
from typing import Final, Literal

from pydantic import TypeAdapter

from robustbench_wb.spec import Spec

Grade = Literal["A", "B", "C", "F"]
GRADES: Final[tuple[Grade, ...]] = ("A", "B", "C", "F")
"""Grades from the best to the worst. A: all checks passed. B: a small doubt, or a check that could not be made. C: the
accuracy is likely too high. F: the accuracy says nothing about robustness, and is not ranked."""


class CredibilityCheck(Spec):
    """The outcome of one check, with plain numbers that a row can hold."""

    name: str
    grade: Grade
    """The best grade that this check allows."""
    value: float
    limit: float
    """Largest value without loss of grade."""
    samples: int
    """Number of samples that were checked."""
    reason: str
    """One sentence with the figures, for every grade."""


_CHECKS: Final = TypeAdapter(tuple[CredibilityCheck, ...])


class Credibility(Spec):
    """The grade of a row, and the checks behind it."""

    grade: Grade
    checks: tuple[CredibilityCheck, ...]


def combine(checks: tuple[CredibilityCheck, ...]) -> Credibility:
    """Combine checks into a grade: the worst grade of all of them."""
    worst = max((GRADES.index(check.grade) for check in checks), default=0)
    return Credibility(grade=GRADES[worst], checks=checks)


def read_checks(text: str) -> tuple[CredibilityCheck, ...]:
    """Read the checks of a row from its JSON; an empty text holds none."""
    return _CHECKS.validate_json(text) if text else ()


def worst_check(checks: Iterable[CredibilityCheck]) -> CredibilityCheck | None:
    """The first check with the worst grade; None without checks."""
    return max(checks, key=lambda check: GRADES.index(check.grade), default=None)
