"""Two tables, aligned cell by cell: what stands in both, what in one only, and what may not be compared."""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from robustbench_wb.equivalences import same_code
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec

_ALWAYS_KNOWN: Final = ("metric", "protocol", "scale", "suite_version", "n")
"""The ones that a row whose subject could not be built has, too."""

MUST_AGREE: Final = (*_ALWAYS_KNOWN, "data", "samples", "signature", "stressor_code", "ladder", "numerics")
"""Fields that say what was measured. A stronger attack lowers accuracy without any change in the subject:
when one of these differs, two numbers are not comparable, and that is never called a regression."""

ALLOWABLE: Final = tuple(name for name in MUST_AGREE if name != "metric")
"""Those that may be allowed to differ: an accuracy has no difference from a perplexity."""


class FieldDifference(Spec):
    """A field that makes two rows not comparable."""

    field: str
    old: str | int
    new: str | int


class CellMatch(NamedTuple):
    """One cell in two tables."""

    old: ScoreRow
    new: ScoreRow
    differing: tuple[FieldDifference, ...]
    """What forbids to compare them."""
    allowed: tuple[FieldDifference, ...]
    """What would, if it were not allowed."""


class Alignment(NamedTuple):
    """All cells of two tables, in the order of the new one."""

    matches: list[CellMatch]
    added: list[ScoreRow]
    removed: list[ScoreRow]


def align(old_rows: Iterable[ScoreRow], new_rows: Iterable[ScoreRow], allow: Collection[str] = ()) -> Alignment:
    """Match the rows of one slot: suite, task, subject with its seed, stressor, strength.

    A row that finds no other of its scale is matched with the one of another scale, if there is exactly one: that is
    a difference to be named, not two cells that have nothing to do with each other.

    Args:
        old_rows: the earlier table; of several rows of one slot, the last stands.
        new_rows: the later table.
        allow: names in :data:`ALLOWABLE` that may differ; ``samples`` includes their number ``n``.
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
        [_match(partners[slot], row, allow) for slot, row in new.items() if slot in partners],
        [row for slot, row in new.items() if slot not in partners],
        [row for slot, row in old.items() if slot not in matched],
    )


def _by_cell(rows: Iterable[ScoreRow]) -> dict[tuple[str, ...], list[ScoreRow]]:
    found: dict[tuple[str, ...], list[ScoreRow]] = {}
    for row in rows:
        cell = (row.task, row.suite, *row.subject, row.stressor, row.strength)
        found.setdefault(cell, []).append(row)
    return found


def _match(old: ScoreRow, new: ScoreRow, allow: Collection[str]) -> CellMatch:
    known = MUST_AGREE if old.key and new.key else _ALWAYS_KNOWN
    differing = [
        FieldDifference(field=name, old=getattr(old, name), new=getattr(new, name))
        for name in known
        if not _agree(name, getattr(old, name), getattr(new, name))
    ]
    free = {*allow, "n"} if "samples" in allow else set(allow)
    return CellMatch(
        old,
        new,
        tuple(item for item in differing if item.field not in free),
        tuple(item for item in differing if item.field in free),
    )


def _agree(field: str, old: str | int, new: str | int) -> bool:
    """Whether a field has one value in two rows; code agrees when it is listed as equivalent, too."""
    return same_code(str(old), str(new)) if field == "stressor_code" else old == new
