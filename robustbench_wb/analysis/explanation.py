"""Why a cell of a request would be reused or measured, field by field."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from robustbench_wb.analysis.verify.recompute import possible_identities
from robustbench_wb.records.names import Slot
from robustbench_wb.records.record import Cell, Identity, differing_fields
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec

ReuseOutcome = Literal["reused", "changed", "not kept", "new", "unknown"]
"""``reused``: its record is in the store. ``changed``: another one of the same names is, and some fields differ. ``not
kept``: it was measured, but samples errored, or its record is gone. ``new``: there is no row of these names.
``unknown``: a subject is not trained yet, or cannot be had."""


PlannedCell = tuple[Cell, Identity | None, str]
"""A cell, what would identify its record, and why that is not known."""


class FieldChange(Spec):
    """One field of the identity."""

    field: str
    old: Any
    new: Any


class Explanation(Spec):
    """One cell of a request."""

    cell: Cell
    outcome: ReuseOutcome
    key: str
    """Address of the record; empty when it is unknown."""
    changes: tuple[FieldChange, ...] = ()
    """Old: as the newest row of the same names has it."""
    version: int | None = None
    """Which version has that row."""
    reason: str = ""
    """Why it is unknown."""


def explain_cells(
    planned: Sequence[PlannedCell], stored: Collection[str], rows: Mapping[int, Sequence[ScoreRow]]
) -> list[Explanation]:
    """Hold the cells of a request against what is stored.

    Args:
        planned: the cells.
        stored: keys, of theirs, that have a record.
        rows: of the versions to look for the same names in, by number, the newest first.
    """
    newest: dict[Slot, tuple[int, ScoreRow]] = {}
    for number, members in rows.items():
        for row in members:
            if row.signature:
                newest.setdefault(row.slot, (number, row))
    return [_one(cell, stored, newest) for cell in planned]


def _one(planned: PlannedCell, stored: Collection[str], newest: Mapping[Slot, tuple[int, ScoreRow]]) -> Explanation:
    cell, identity, reason = planned
    if identity is None:
        return Explanation(cell=cell, outcome="unknown", key="", reason=reason)
    if identity.key in stored:
        return Explanation(cell=cell, outcome="reused", key=identity.key)
    if cell.slot not in newest:
        return Explanation(cell=cell, outcome="new", key=identity.key)
    version, row = newest[cell.slot]
    changes = tuple(FieldChange(field=field, old=old, new=new) for field, old, new in _changes(row, identity))
    outcome: ReuseOutcome = "changed" if changes else "not kept"
    return Explanation(cell=cell, outcome=outcome, key=identity.key, changes=changes, version=version)


def _changes(row: ScoreRow, identity: Identity) -> list[tuple[str, object, object]]:
    """Against what the row says was measured; its key tells by which version of the schema."""
    known = possible_identities(row)
    old = next((one for one in known if one.key == row.key), known[0])
    return differing_fields(old, identity)
