"""Several results made one: the shards of a suite that were run on several machines."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import numpy as np

from robustbench_wb.errors import ExitCode
from robustbench_wb.records.names import Slot, label
from robustbench_wb.records.record import Identity, Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec
from robustbench_wb.store.location import prepare
from robustbench_wb.store.records import RecordStore
from robustbench_wb.store.scores import ScoreTable

Prefer = Literal["mine", "theirs"]

_AT_ONCE: Final = 64
"""Records in memory, and in a commit."""
_FIELDS: Final = tuple(name for name in Identity.model_fields if name in ScoreRow.model_fields)
_LOSS: Final = {"rtol": 1e-3, "atol": 1e-4}
"""Another processor adds in another order; by so little a loss may differ, and is the same outcome."""


class MergeSource(Spec):
    """What was merged."""

    place: str
    version: int


class Unsteady(Spec):
    """One key, two outcomes: the measurement is not deterministic. The record that was there first stays."""

    place: str
    """Where the other outcome is."""
    key: str
    cells: tuple[str, ...]
    """Where the record stands in the tables, like ``digits small adversarial: vit-nano plain seed 0, clean``."""
    fields: tuple[str, ...]
    """What differs: ``ids``, ``states``, ``losses``, ``perturbed``."""
    ids: tuple[int, ...]
    """The samples that differ."""


class Conflict(Spec):
    """One slot of the table, two measurements of different things."""

    place: str
    cell: str
    fields: tuple[str, ...]
    """Of :class:`Identity`, those that differ."""
    kept: Prefer | None
    """None: nobody decided, and what was there stays."""


class Merged(Spec):
    """What a merge did."""

    sources: tuple[MergeSource, ...]
    version: int | None
    """That was committed; None when the table had all rows already."""
    records: int
    """That were added."""
    rows: int
    """That were added or replaced."""
    unsteady: tuple[Unsteady, ...]
    conflicts: tuple[Conflict, ...]

    @property
    def exit_code(self) -> ExitCode:
        """CREDIBILITY when a measurement is not deterministic; else NOT_COMPARABLE for conflicts left open; else OK."""
        if self.unsteady:
            return ExitCode.CREDIBILITY
        undecided = any(conflict.kept is None for conflict in self.conflicts)
        return ExitCode.NOT_COMPARABLE if undecided else ExitCode.OK


def merge(places: Sequence[str], location: str, prefer: Prefer | None = None, command: str = "") -> Merged:
    """Add all records of other results, and the rows of their latest versions, as one new version.

    Records are added first, the rows in one commit after them: a merge that dies leaves records that no table names
    yet, and the same command goes on. Merging again changes nothing.

    A row of a slot that is there already is the same when its key is. Of the same key, and where one of the two
    could not be measured at all, the one that was judged more completely stands. Anything else is a conflict.

    Args:
        places: folders or Delta URLs; of two with the same slot or key, the first is there first.
        location: where to; it need not exist.
        prefer: who wins a conflict: what is there, or what comes. None: what is there, and the exit code tells.
        command: what the user typed.

    Raises:
        StoreError: results cannot be read, or the destination cannot be written.
    """
    prepare(location)
    tables = [ScoreTable(place) for place in places]
    sources = [MergeSource(place=table.location, version=table.version()) for table in tables]
    theirs = [table.rows(source.version) for table, source in zip(tables, sources, strict=True)]
    table = ScoreTable(location)
    mine = table.rows() if table.exists() else []
    names = _names((*mine, *(row for rows in theirs for row in rows)))
    store, added, unsteady = RecordStore(location), 0, list[Unsteady]()
    for place in places:
        count, found = _add_records(RecordStore(place), store, names)
        added += count
        unsteady += found
    changed, conflicts = _add_rows({row.slot: row for row in mine}, dict(zip(places, theirs, strict=True)), prefer)
    version = table.commit(changed, _provenance(sources, command)) if changed else None
    store.tidy()
    return Merged(
        sources=tuple(sources), version=version, records=added, rows=len(changed),
        unsteady=tuple(unsteady), conflicts=tuple(conflicts),
    )  # fmt: skip


def _add_records(source: RecordStore, store: RecordStore, names: Mapping[str, list[str]]) -> tuple[int, list[Unsteady]]:
    added, unsteady = 0, []
    every = source.keys()
    for start in range(0, len(every), _AT_ONCE):
        keys = every[start : start + _AT_ONCE]
        theirs, mine = source.find(keys), store.find(keys)
        fresh = [record for key, record in theirs.items() if key not in mine]
        store.append(*fresh)
        added += len(fresh)
        for key in sorted(mine.keys() & theirs.keys()):
            fields, ids = _difference(mine[key], theirs[key])
            if fields:
                cells = tuple(names.get(key, []))
                unsteady.append(Unsteady(place=source.location, key=key, cells=cells, fields=fields, ids=ids))
    return added, unsteady


def _difference(mine: Record, theirs: Record) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Fields of the outcome that differ, and the samples. What it cost may differ: time, and passes of an attack that
    stops early."""
    if not np.array_equal(mine.ids, theirs.ids):
        return ("ids",), tuple(np.setxor1d(mine.ids, theirs.ids).tolist())
    states = mine.states != theirs.states
    losses = ~np.isclose(mine.losses, theirs.losses, equal_nan=True, **_LOSS)
    found = {
        "states": bool(states.any()),
        "losses": bool(losses.any()),
        "perturbed": mine.perturbed != theirs.perturbed,
    }
    return tuple(name for name, differs in found.items() if differs), tuple(mine.ids[states | losses].tolist())


def _add_rows(
    known: dict[Slot, ScoreRow], sources: Mapping[str, Iterable[ScoreRow]], prefer: Prefer | None
) -> tuple[list[ScoreRow], list[Conflict]]:
    """The rows that are new or replace others, and the conflicts."""
    changed: dict[Slot, ScoreRow] = {}
    conflicts = []
    for place, rows in sources.items():
        for row in rows:
            there = known.get(row.slot)
            if there is not None and _conflict(there, row):
                fields = tuple(name for name in _FIELDS if getattr(there, name) != getattr(row, name))
                conflicts.append(Conflict(place=place, cell=label(row), fields=fields, kept=prefer))
                wins = prefer == "theirs"
            else:
                wins = there is None or _judged(row) > _judged(there)
            if wins:
                known[row.slot] = changed[row.slot] = row
    return list(changed.values()), conflicts


def _conflict(there: ScoreRow, row: ScoreRow) -> bool:
    return there.key != row.key and "error" not in (there.status, row.status)


def _judged(row: ScoreRow) -> int:
    return ("error", "incomplete", "ok").index(row.status)


def _names(rows: Iterable[ScoreRow]) -> dict[str, list[str]]:
    """Where each key stands."""
    found: dict[str, list[str]] = {}
    for row in rows:
        names = found.setdefault(row.key, [])
        if label(row) not in names:
            names.append(label(row))
    return found


def _provenance(sources: Sequence[MergeSource], command: str) -> dict[str, Any]:
    """Each version that was merged has its own."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return {"command": command, "merged": [source.model_dump() for source in sources], "time": time}
