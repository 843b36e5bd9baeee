"""Explanation, field by field, of whether the cells of a request would be reused or measured."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, NamedTuple

from robustbench_wb.analysis.verify.recompute import possible_identities
from robustbench_wb.records.names import Slot, suite_family
from robustbench_wb.records.record import Cell, Identity, differing_fields
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec

ReuseOutcome = Literal["reused", "changed", "not kept", "new", "unknown"]
"""``reused``: the record of the cell is in the store. ``changed``: a row of the same slot exists and some identity
fields differ. ``not kept``: the cell was measured, but some samples errored or the record is gone. ``new``: no row of
this slot exists. ``unknown``: the model is not trained yet, or cannot be loaded."""


class RequestedCell(NamedTuple):
    """Cell of a request with the identity that its record would have."""

    cell: Cell
    identity: Identity | None
    """Identity of the record; None if it is unknown."""
    reason: str
    """Reason for an unknown identity; else empty."""


class FieldChange(Spec):
    """Field of the identity that changed."""

    field: str
    old: object
    new: object
    parts: str = ""
    """Modules and files behind a digest that changed, like ``layers.py changed``; empty if they are not known."""


class Explanation(Spec):
    """Outcome for one cell of a request."""

    cell: Cell
    outcome: ReuseOutcome
    key: str
    """Key of the record; empty if it is unknown."""
    changes: tuple[FieldChange, ...] = ()
    """Changed fields, with the old values from the newest row of the slot."""
    version: int | None = None
    """Version of the table that has the newest row of the slot."""
    reason: str = ""
    """Reason for the outcome ``unknown``."""


def explain_cells(
    requested: Sequence[RequestedCell],
    stored: Collection[str],
    rows: Mapping[int, Sequence[ScoreRow]],
    changed_parts: Callable[[str, str], str],
) -> list[Explanation]:
    """Compare the cells of a request with the store.

    Args:
        requested: the cells.
        stored: keys of these cells that have a record.
        rows: rows of the table versions to search, by version number, newest first.
        changed_parts: says what differs between an old and a new digest of a model's code.
    """
    newest: dict[Slot, tuple[int, ScoreRow]] = {}
    for number, members in rows.items():
        for row in members:
            if row.signature:
                newest.setdefault(_place(row.slot), (number, row))
    found = [_explain(one, stored, newest) for one in requested]
    return [one.model_copy(update={"changes": _with_parts(one.changes, changed_parts)}) for one in found]


def _with_parts(changes: Sequence[FieldChange], changed_parts: Callable[[str, str], str]) -> tuple[FieldChange, ...]:
    return tuple(
        change.model_copy(update={"parts": changed_parts(str(change.old), str(change.new))})
        if change.field == "model_code"
        else change
        for change in changes
    )


def _explain(
    requested: RequestedCell, stored: Collection[str], newest: Mapping[Slot, tuple[int, ScoreRow]]
) -> Explanation:
    cell, identity, reason = requested
    if identity is None:
        return Explanation(cell=cell, outcome="unknown", key="", reason=reason)
    if identity.key in stored:
        return Explanation(cell=cell, outcome="reused", key=identity.key)
    if _place(cell.slot) not in newest:
        return Explanation(cell=cell, outcome="new", key=identity.key)
    version, row = newest[_place(cell.slot)]
    changes = tuple(FieldChange(field=field, old=old, new=new) for field, old, new in _changes(row, identity))
    outcome: ReuseOutcome = "changed" if changes else "not kept"
    return Explanation(cell=cell, outcome=outcome, key=identity.key, changes=changes, version=version)


def _place(slot: Slot) -> Slot:
    """Slot of all changes of a suite: another change explains what is measured again."""
    return slot._replace(suite=suite_family(slot.suite))


def _changes(row: ScoreRow, identity: Identity) -> list[tuple[str, object, object]]:
    """Fields that differ between a row and an identity; the key of the row decides its schema version."""
    known = possible_identities(row)
    old = next((one for one in known if one.key == row.key), known[0])
    return differing_fields(old, identity)
