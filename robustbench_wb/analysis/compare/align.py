"""Alignment of two score tables, cell by cell: common cells, cells of one table only, and incomparable cells."""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from robustbench_wb.equivalences import same_code
from robustbench_wb.records.names import suite_family
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec

_ALWAYS_KNOWN: Final = ("metric", "protocol", "scale", "suite_version", "n")
"""Fields of ``MUST_AGREE`` that every row has, even if its model could not be built."""

MUST_AGREE: Final = (*_ALWAYS_KNOWN, "data", "samples", "signature", "stressor_code", "ladder", "numerics")
"""Fields that say what was measured. A stronger attack lowers accuracy without any change in the model. Two numbers
that differ in one of these fields are not comparable, and the difference is never called a regression."""

ALLOWABLE: Final = tuple(name for name in MUST_AGREE if name != "metric")
"""Fields of ``MUST_AGREE`` that a user may allow to differ. An accuracy is never comparable with a perplexity."""


class FieldDifference(Spec):
    """Field in which two rows differ, with both values."""

    field: str
    old: str | int
    new: str | int


class CellMatch(NamedTuple):
    """One cell that is in both tables."""

    old: ScoreRow
    new: ScoreRow
    differing: tuple[FieldDifference, ...]
    """Differences that forbid the comparison."""
    allowed: tuple[FieldDifference, ...]
    """Differences that would forbid the comparison, but that the user allows."""


class Alignment(NamedTuple):
    """Matched and unmatched cells of two tables, in the order of the new table."""

    matches: list[CellMatch]
    added: list[ScoreRow]
    removed: list[ScoreRow]


def align(old_rows: Iterable[ScoreRow], new_rows: Iterable[ScoreRow], allow: Collection[str] = ()) -> Alignment:
    """Match rows with equal slots: suite, task, model with its seed, stressor, strength and scale.

    A row without a counterpart is matched with the only row of another scale, or of another change of the same suite,
    if there is exactly one. What differs then appears as a difference, rather than as two unrelated cells.

    Args:
        old_rows: the earlier table; of several rows with one slot, the last is used.
        new_rows: the later table; of several rows with one slot, the last is used.
        allow: names in ``ALLOWABLE`` that may differ; ``samples`` includes their number ``n``. A cell that was stopped
            has some of the samples of the other side, which is always allowed.
    """
    old, new = ({row.slot: row for row in rows} for rows in (old_rows, new_rows))
    partners = {slot: old[slot] for slot in new if slot in old}
    rest_old = _by_cell(row for slot, row in old.items() if slot not in partners)
    rest_new = _by_cell(row for slot, row in new.items() if slot not in partners)
    for cell, (row, *others) in rest_new.items():
        candidates = rest_old.get(cell, [])
        if not others and len(candidates) == 1:
            partners[row.slot] = candidates[0]
    matched = {row.slot for row in partners.values()}
    return Alignment(
        matches=[_match(partners[slot], row, allow) for slot, row in new.items() if slot in partners],
        added=[row for slot, row in new.items() if slot not in partners],
        removed=[row for slot, row in old.items() if slot not in matched],
    )


def _by_cell(rows: Iterable[ScoreRow]) -> dict[tuple[str, ...], list[ScoreRow]]:
    found: dict[tuple[str, ...], list[ScoreRow]] = {}
    for row in rows:
        cell = (row.task, suite_family(row.suite), *row.subject, row.stressor, row.strength)
        found.setdefault(cell, []).append(row)
    return found


def _match(old: ScoreRow, new: ScoreRow, allow: Collection[str]) -> CellMatch:
    known = MUST_AGREE if old.key and new.key else _ALWAYS_KNOWN
    differing = [
        FieldDifference(field=name, old=getattr(old, name), new=getattr(new, name))
        for name in known
        if not _agree(name, getattr(old, name), getattr(new, name))
    ]
    stopped = old.is_stopped or new.is_stopped
    free = {*allow, "samples", "n"} if "samples" in allow or stopped else set(allow)
    return CellMatch(
        old=old,
        new=new,
        differing=tuple(item for item in differing if item.field not in free),
        allowed=tuple(item for item in differing if item.field in free),
    )


def samples_may_differ(allowed: Iterable[FieldDifference]) -> bool:
    """Whether the allowed differences of a cell include its samples, so that only the common ones can be compared."""
    return any(item.field in ("samples", "n") for item in allowed)


def _agree(field: str, old: str | int, new: str | int) -> bool:
    """Whether a field has one value in two rows; code agrees when it is listed as equivalent, too."""
    return same_code(str(old), str(new)) if field == "stressor_code" else old == new
