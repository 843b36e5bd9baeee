"""Sentences of a claims file: a small strict grammar, so that the text a person reads is the text that is tested."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from math import isfinite
from typing import Final, Literal, NamedTuple, cast

from robustbench_wb.errors import UsageError
from robustbench_wb.layers.table import MEASURES
from robustbench_wb.records.names import variant_name
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec
from robustbench_wb.text_files import parse_toml, read_text, reason_of

Relation = Literal[
    "not worse", "better", "worse", "not better", "equivalent",
    "at least", "at most", "above", "below", "rising", "falling",
]  # fmt: skip
Unit = Literal["points", "percent", "perplexity", "measure"]
"""Unit of a limit: points or percent for accuracy, percent for perplexity, a perplexity itself, or that of a layer
measure."""

_PLACES: Final = ("task", "suite", "scale")
"""Names of what selects the rows of a sentence."""
EXAMPLE: Final = "vit-nano is not worse than crate-nano at pgd-linf eps=8/255 by more than 1 point"


def _subject(group: str) -> str:
    recipe = rf"(?: (?P<{group}_recipe>(?!seed |of |is |has |at )\S+))?"
    return rf"(?P<{group}>\S+){recipe}(?: seed (?P<{group}_seed>\d+))?(?: of (?P<{group}_side>\S+))?"


_MARGIN: Final = r"(?P<number>\d+(?:\.\d+)?) ?(?P<unit>points?|%|percent)"
_MEASURE: Final = rf"(?P<measure>{'|'.join(MEASURES)})"
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
        rf"{_subject('one')} has an? (?P<relation>rising|falling) {_MEASURE} {_CELLS}",
        rf"{_subject('one')} has an? {_MEASURE} (?P<relation>above|below) "
        rf"(?:(?P<number>-?\d+(?:\.\d+)?)|(?P<drift>its clean value)) in (?:every layer|layer (?P<layer>[1-9]\d*)) "
        rf"{_CELLS}",
    )
)


class NamedModel(Spec):
    """Model as a sentence names it; None is a part that the sentence leaves out."""

    name: str
    """Variant with or without its size, like ``vit-nano`` or ``crate-nano;lam=0.05``."""
    recipe: str | None = None
    seed: int | None = None
    side: str | None = None
    """Table that holds the model, like ``v1`` or a baseline file; None is the table that is checked."""

    def covers(self, row: ScoreRow) -> bool:
        """Whether a row of the model's table is about this model."""
        return (
            self.name in (row.variant, variant_name(row))
            and self.recipe in (None, row.recipe)
            and self.seed in (None, row.seed)
        )


class ClaimSentence(Spec):
    """Parsed sentence: a model, a relation, cells and a limit."""

    text: str
    subject: NamedModel
    """First model."""
    relation: Relation
    than: NamedModel | None = None
    """Second model; None if the sentence compares with a level."""
    cells: tuple[str, ...]
    """Names like ``pgd-linf@8/255`` or ``pgd-linf eps=8/255``, or patterns like ``pgd-*``."""
    limit: float
    """Share of accuracy, relative change of perplexity, perplexity, or value of a layer measure, by ``unit``."""
    unit: Unit
    measure: str = ""
    """Layer measure that the sentence is about, see ``robustbench_wb.layers.table.MEASURES``; empty for outcomes."""
    layer: int | None = None
    """Number of the layer that the sentence is about, from 1; None: every layer, or the change from first to last."""
    drift: bool = False
    """Whether the sentence compares a layer measure with its value for the same samples when clean."""
    task: str | None = None
    """Task that the sentence is about; None if the results hold only one."""
    suite: str | None = None
    """Suite that the sentence is about; None if the results hold only one."""
    scale: str | None = None
    """Scale that the sentence is about; None if the results hold only one."""
    source: str = ""
    """Publication that makes the claim."""

    @property
    def place(self) -> str:
        """Task, suite and scale as text; empty if none is given."""
        return ", ".join(text for name in _PLACES if (text := getattr(self, name)))

    def among(self, rows: Iterable[ScoreRow]) -> list[ScoreRow]:
        """Rows of the sentence's task, suite and scale."""
        wanted = {name: value for name in _PLACES if (value := getattr(self, name)) is not None}
        return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]

    def covers(self, cell: str, row: ScoreRow) -> bool:
        """Whether ``cell``, one of ``cells``, names the cell of a row."""
        name, *numbers = cell.split(" ")
        if not fnmatchcase(row.cell, name) and not fnmatchcase(row.stressor, name):
            return False
        if not row.signature:  # the model could not be built, so only the strength is known
            return all(number.endswith(f"={row.strength}") for number in numbers)
        return set(numbers) <= set(row.signature.split(";"))


class ClaimsFile(Spec):
    """Content of a claims file."""

    file: str
    claims: tuple[ClaimSentence, ...]


class _Limit(NamedTuple):
    value: float
    unit: Unit


def parse_sentence(text: str) -> ClaimSentence:
    """Parse one sentence; any amount of white space counts as one blank.

    Raises:
        UsageError: the sentence does not match the grammar, or its number is out of range.
    """
    words = " ".join(text.split())
    found = next((match for pattern in _GRAMMAR if (match := pattern.fullmatch(words))), None)
    if found is None:
        raise UsageError(f"cannot read {words!r}; write it like {EXAMPLE!r} (docs/claims.md has all forms)")
    parts = found.groupdict()
    if found["relation"].startswith("not ") and parts["number"] is None:
        raise UsageError(f"{words!r} has no margin; end it with, for instance, 'by more than 1 point'")
    cells = "*" if found["cells"] == "all cells" else found["cells"]
    measure = parts.get("measure", "")
    if measure:
        limit = _Limit(float(parts.get("number") or 0), "measure")
    else:
        limit = _limit(parts["number"], parts["unit"], words)
    if not isfinite(limit.value):
        raise UsageError(f"{words!r}: its number is too large")
    return ClaimSentence(
        text=words,
        subject=_named(found, "one"),
        relation=cast("Relation", found["relation"]),
        than=_named(found, "other") if "other" in parts else None,
        cells=tuple(part.strip() for part in cells.split(",")),
        limit=limit.value,
        unit=limit.unit,
        measure=measure,
        layer=int(parts["layer"]) if parts.get("layer") else None,
        drift=parts.get("drift") is not None,
    )


def read_claims(file: str) -> ClaimsFile:
    """Read a TOML file with a list ``claims`` and optional texts ``task``, ``suite`` and ``scale``.

    A claim is a sentence, or a table with the sentence in ``claim``, its ``source``, and a ``task``, ``suite`` or
    ``scale`` of its own.

    Raises:
        UsageError: the file cannot be read, has other entries, or a sentence does not match the grammar.
    """
    try:
        content = parse_toml(read_text(file))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {reason_of(error)}") from error
    entries = content.pop("claims", None)
    if not isinstance(entries, list) or not entries:
        raise UsageError(f'{file} has no claims; write a list of sentences, like claims = ["{EXAMPLE}"]')
    if content.keys() - set(_PLACES) or not all(isinstance(value, str) for value in content.values()):
        raise UsageError(f"{file}: besides claims, only the texts task, suite and scale are allowed")
    try:
        return ClaimsFile(file=file, claims=tuple(_sentence(entry, content) for entry in entries))
    except UsageError as error:
        raise UsageError(f"{file}: {error}") from error


def _sentence(entry: object, places: Mapping[str, object]) -> ClaimSentence:
    """The sentence of an entry of ``claims``, with the task, suite and scale of the file unless it has its own."""
    given = {"claim": entry} if isinstance(entry, str) else entry
    known = {"claim", "source", *_PLACES}
    texts = isinstance(given, Mapping) and all(isinstance(value, str) for value in given.values())
    if not isinstance(given, Mapping) or not texts or "claim" not in given or given.keys() - known:
        raise UsageError(f"{entry!r} is no claim; write a sentence, or a table of texts: {', '.join(sorted(known))}")
    values = {**places, **{name: value for name, value in given.items() if name != "claim"}}
    return parse_sentence(str(given["claim"])).model_copy(update=values)


def _named(found: re.Match[str], group: str) -> NamedModel:
    seed = found[f"{group}_seed"]
    return NamedModel(
        name=found[group],
        recipe=found[f"{group}_recipe"],
        seed=None if seed is None else int(seed),
        side=found[f"{group}_side"],
    )


def _limit(number: str | None, unit: str | None, words: str) -> _Limit:
    if number is None:
        return _Limit(0.0, "points")
    if unit == "perplexity":
        if float(number) < 1:
            raise UsageError(f"{words!r}: a perplexity is at least 1")
        return _Limit(float(number), "perplexity")
    if float(number) >= 100:
        raise UsageError(f"{words!r}: {number} must be at least 0 and below 100")
    return _Limit(float(number) / 100, "points" if str(unit).startswith("point") else "percent")
