"""The sentences of a claims file: a small strict grammar, so that what is read is what is tested."""

import re
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from robustbench_wb.errors import UsageError
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec

Relation = Literal["not worse", "better", "worse", "not better", "equivalent", "at least", "at most"]
Unit = Literal["points", "percent", "perplexity"]
"""Points or percent of accuracy, percent of perplexity, or a perplexity itself."""

EXAMPLE: Final = "vit-nano is not worse than crate-nano at pgd-linf eps=8/255 by more than 1 point"


def _subject(group: str) -> str:
    recipe = rf"(?: (?P<{group}_recipe>(?!seed |of |is |has |at )\S+))?"
    return rf"(?P<{group}>\S+){recipe}(?: seed (?P<{group}_seed>\d+))?(?: of (?P<{group}_side>\S+))?"


_MARGIN: Final = r"(?P<number>\d+(?:\.\d+)?) ?(?P<unit>points?|%|percent)"
_CELL: Final = r"[^\s,]+(?: [^\s,=]+=[^\s,]+)*"
_CELLS: Final = rf"at (?P<cells>all cells|{_CELL}(?:, ?{_CELL})*)"
_GRAMMAR: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_subject('one')} is (?P<relation>(?:not )?(?:better|worse)) than {_subject('other')} {_CELLS}"
        rf"(?: by more than {_MARGIN})?",
        rf"{_subject('one')} is (?P<relation>equivalent) to {_subject('other')} {_CELLS} to within {_MARGIN}",
        rf"{_subject('one')} has an accuracy of (?P<relation>at least|at most) {_MARGIN} {_CELLS}",
        rf"{_subject('one')} has a (?P<unit>perplexity) of (?P<relation>at least|at most) "
        rf"(?P<number>\d+(?:\.\d+)?) {_CELLS}",
    )
)


class NamedModel(Spec):
    """A subject, as tables print it."""

    name: str
    """A variant with or without its size, like ``vit-nano``."""
    recipe: str | None = None
    """None, and for the seed and the side: it is not named."""
    seed: int | None = None
    side: str | None = None
    """Where it is, like ``v1`` or a baseline file; None is the version that is checked."""

    def covers(self, row: ScoreRow) -> bool:
        """Whether a row of its side is about it."""
        return (
            self.name in (row.variant, f"{row.variant}-{row.size}")
            and self.recipe in (None, row.recipe)
            and self.seed in (None, row.seed)
        )


class ClaimSentence(Spec):
    """What a sentence says: a subject, a relation, cells, and a limit."""

    text: str
    subject: NamedModel
    relation: Relation
    than: NamedModel | None = None
    """None: the relation is to a level."""
    cells: tuple[str, ...]
    """Names like ``pgd-linf@8/255`` or ``pgd-linf eps=8/255``, or patterns like ``pgd-*``."""
    limit: float
    """A share of accuracy, a relative change of perplexity, or a perplexity."""
    unit: Unit

    def covers(self, cell: str, row: ScoreRow) -> bool:
        """Whether one of :attr:`cells` names the cell of a row."""
        name, *numbers = cell.split(" ")
        if not fnmatchcase(row.cell, name) and not fnmatchcase(row.stressor, name):
            return False
        if not row.signature:  # of a subject that could not be built only the strength is known
            return all(number.endswith(f"={row.strength}") for number in numbers)
        return set(numbers) <= set(row.signature.split(";"))


class ClaimsFile(Spec):
    """The content of a claims file."""

    file: str
    task: str | None = None
    """Which rows the sentences are about; None, and for the next two: the results have only one."""
    suite: str | None = None
    scale: str | None = None
    claims: tuple[ClaimSentence, ...]

    def among(self, rows: list[ScoreRow]) -> list[ScoreRow]:
        """The rows that the file is about."""
        wanted = {"task": self.task, "suite": self.suite, "scale": self.scale}
        return [row for row in rows if all(value in (None, getattr(row, name)) for name, value in wanted.items())]


def parse_sentence(text: str) -> ClaimSentence:
    """Read one sentence; blanks of any number count as one.

    Raises:
        UsageError: the grammar has no such sentence, or its number is out of range.
    """
    words = " ".join(text.split())
    found = next((match for pattern in _GRAMMAR if (match := pattern.fullmatch(words))), None)
    if found is None:
        raise UsageError(f"cannot read {words!r}; write it like {EXAMPLE!r} (docs/claims.md has all forms)")
    parts: dict[str, Any] = found.groupdict()
    if parts["relation"].startswith("not ") and parts["number"] is None:
        raise UsageError(f"{words!r} does not say by how much; end it with, for instance, 'by more than 1 point'")
    cells = "*" if parts["cells"] == "all cells" else parts["cells"]
    return ClaimSentence(
        text=words,
        subject=_named(parts, "one"),
        relation=parts["relation"],
        than=_named(parts, "other") if "other" in parts else None,
        cells=tuple(part.strip() for part in cells.split(",")),
        **_limit(parts["number"], parts["unit"], words),
    )


def read_claims(file: str) -> ClaimsFile:
    """The sentences of a TOML file: a list ``claims``, and where needed ``task``, ``suite`` and ``scale``.

    Raises:
        UsageError: the file cannot be read, has anything else, or a sentence cannot be read.
    """
    try:
        content = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    texts = content.pop("claims", None)
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise UsageError(f'{file} has no claims; write a list of sentences, like claims = ["{EXAMPLE}"]')
    try:
        return ClaimsFile(file=file, claims=tuple(map(parse_sentence, texts)), **content)
    except (ValidationError, TypeError) as error:
        raise UsageError(f"{file}: beside claims there may be the texts task, suite and scale, nothing else") from error
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def _named(parts: dict[str, Any], group: str) -> NamedModel:
    seed = parts[f"{group}_seed"]
    return NamedModel(
        name=parts[group],
        recipe=parts[f"{group}_recipe"],
        seed=None if seed is None else int(seed),
        side=parts[f"{group}_side"],
    )


def _limit(number: str | None, unit: str | None, words: str) -> dict[str, Any]:
    if number is None:
        return {"limit": 0.0, "unit": "points"}
    if unit == "perplexity":
        if float(number) < 1:
            raise UsageError(f"{words!r}: no perplexity is below 1")
        return {"limit": float(number), "unit": unit}
    if float(number) >= 100:
        raise UsageError(f"{words!r}: {number} is not from 0 to below 100")
    return {"limit": float(number) / 100, "unit": "points" if str(unit).startswith("point") else "percent"}
