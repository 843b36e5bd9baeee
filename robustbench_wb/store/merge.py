"""Merging of results, for example the shards of a suite that ran on several machines."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import ExitCode
from robustbench_wb.records.names import Slot, label
from robustbench_wb.records.record import Identity, Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.spec import Spec
from robustbench_wb.store.location import prepare_location
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable

Prefer = Literal["mine", "theirs"]

_AT_ONCE: Final = 64
"""Number of records that are held in memory and written in one commit."""
_FIELDS: Final = tuple(name for name in Identity.model_fields if name in ScoreRow.model_fields)
_RELATIVE, _ABSOLUTE = 1e-3, 1e-4
"""Tolerances for losses, which differ between processors because of the order of additions."""


class MergeSource(Spec):
    """Merged version of a score table."""

    place: str
    """Folder or URL of the results."""
    version: int
    """Version of the score table."""


class NondeterministicRecord(Spec):
    """Two records with one key and different outcomes: the evaluation is not deterministic. The first record stays."""

    place: str
    """Location of the rejected record."""
    key: str
    """Key of both records."""
    cells: tuple[str, ...]
    """Names of the rows with that key, such as ``digits small adversarial: vit-nano plain seed 0, clean``."""
    fields: tuple[str, ...]
    """Differing fields of the records: ``ids``, ``states``, ``losses``, ``perturbed``, or arrays of some records."""
    ids: tuple[int, ...]
    """Ids of the samples that differ."""


class SlotConflict(Spec):
    """Two rows of one slot of the table that measured different things."""

    place: str
    """Location of the row that was merged in."""
    cell: str
    """Human-readable name of the slot."""
    fields: tuple[str, ...]
    """Differing fields of ``Identity``."""
    kept: Prefer | None
    """Side whose row is kept by request; None if no preference was given, in which case the existing row stays."""


class MergeResult(Spec):
    """Result of a merge."""

    sources: tuple[MergeSource, ...]
    version: int | None
    """Version that the merge committed; None if the table already had all rows."""
    records: int
    """Number of records added."""
    rows: int
    """Number of rows added or replaced."""
    unsteady: tuple[NondeterministicRecord, ...]
    conflicts: tuple[SlotConflict, ...]

    @property
    def exit_code(self) -> ExitCode:
        """CREDIBILITY if an evaluation is not deterministic, else NOT_COMPARABLE for undecided conflicts, else OK."""
        if self.unsteady:
            return ExitCode.CREDIBILITY
        undecided = any(conflict.kept is None for conflict in self.conflicts)
        return ExitCode.NOT_COMPARABLE if undecided else ExitCode.OK


def merge_results(places: Sequence[str], location: str, prefer: Prefer | None = None, command: str = "") -> MergeResult:
    """Add all records of other results, and the rows of their latest versions as one new version.

    Records are added first and the rows after them in one commit. An interrupted merge therefore leaves records without
    rows, and the same command completes it. Merging again changes nothing.

    Two rows of one slot are equal if their keys are equal. Of equal rows, or if one of them has status ``error``, the
    more complete row is kept. Otherwise the two rows are a conflict.

    Args:
        places: folders or Delta URLs of the sources. Of two sources with the same slot or key, the first has priority.
        location: folder or Delta URL of the destination, which need not exist.
        prefer: side that wins a conflict: the existing row or the merged one. With None, the existing row stays and the
            exit code reports the conflict.
        command: command line of the user, for the provenance.

    Raises:
        StoreError: a source cannot be read, or the destination cannot be written.
    """
    tables = [ScoreTable(place) for place in places]
    sources = [MergeSource(place=table.location, version=table.version()) for table in tables]
    theirs = [table.rows(source.version) for table, source in zip(tables, sources, strict=True)]
    prepare_location(location)  # no folder is left where a source cannot be read
    table = ScoreTable(location)
    mine = table.rows() if table.exists() else []
    names = _names((*mine, *(row for rows in theirs for row in rows)))
    store, added, unsteady = RecordStore(location), 0, list[NondeterministicRecord]()
    for place in places:
        count, found = _add_records(RecordStore(place), store, names)
        added += count
        unsteady += found
    changed, conflicts = _add_rows({row.slot: row for row in mine}, dict(zip(places, theirs, strict=True)), prefer)
    version = table.commit(changed, _provenance(sources, command)) if changed else None
    store.compact()
    return MergeResult(
        sources=tuple(sources), version=version, records=added, rows=len(changed),
        unsteady=tuple(unsteady), conflicts=tuple(conflicts),
    )  # fmt: skip


def _add_records(
    source: RecordStore, store: RecordStore, names: Mapping[str, list[str]]
) -> tuple[int, list[NondeterministicRecord]]:
    """Copy records whose key is new; return their number, and the records that differ from the stored one."""
    added, unsteady = 0, []
    every = source.keys()
    for start in range(0, len(every), _AT_ONCE):
        keys = every[start : start + _AT_ONCE]
        theirs, mine = source.find(keys), store.find(keys)
        fresh = [record for key, record in theirs.items() if key not in mine]
        added += sum(kept is record for kept, record in zip(store.append(*fresh), fresh, strict=True))
        for key in sorted(mine.keys() & theirs.keys()):
            fields, ids = _difference(mine[key], theirs[key])
            if fields:
                cells = tuple(names.get(key, []))
                unsteady.append(
                    NondeterministicRecord(place=source.location, key=key, cells=cells, fields=fields, ids=ids)
                )
    return added, unsteady


def _difference(mine: Record, theirs: Record) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Differing fields of two outcomes, and ids of the differing samples.

    Costs are not compared: time, and the passes of an attack that stops early.
    """
    if not np.array_equal(mine.ids, theirs.ids):
        return ("ids",), tuple(np.setxor1d(mine.ids, theirs.ids).tolist())
    states = mine.states != theirs.states
    losses = ~np.isclose(mine.losses, theirs.losses, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)
    names = dict.fromkeys((*mine.optional, *theirs.optional))
    found = {
        "states": bool(states.any()),
        "losses": bool(losses.any()),
        "perturbed": mine.perturbed != theirs.perturbed,
        **{name: not _is_close(mine.optional.get(name), theirs.optional.get(name)) for name in names},
    }
    return tuple(name for name, differs in found.items() if differs), tuple(mine.ids[states | losses].tolist())


def _is_close(mine: NDArray[np.generic] | None, theirs: NDArray[np.generic] | None) -> bool:
    """Whether two arrays are equal: counts exactly, outputs of a model like losses. A missing one equals none."""
    if mine is None or theirs is None or mine.shape != theirs.shape:
        return False
    if mine.dtype.kind == "i":
        return np.array_equal(mine, theirs)
    return bool(np.allclose(mine, theirs, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True))


def _add_rows(
    known: dict[Slot, ScoreRow], sources: Mapping[str, Iterable[ScoreRow]], prefer: Prefer | None
) -> tuple[list[ScoreRow], list[SlotConflict]]:
    """Rows that are new or replace others, and the conflicts; ``known`` is updated."""
    changed: dict[Slot, ScoreRow] = {}
    conflicts = []
    for place, rows in sources.items():
        for row in rows:
            there = known.get(row.slot)
            if there is not None and _conflict(there, row):
                fields = tuple(name for name in _FIELDS if getattr(there, name) != getattr(row, name))
                conflicts.append(SlotConflict(place=place, cell=label(row), fields=fields, kept=prefer))
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
    """Human-readable names of the rows of each key."""
    found: dict[str, list[str]] = {}
    for row in rows:
        names = found.setdefault(row.key, [])
        if label(row) not in names:
            names.append(label(row))
    return found


def _provenance(sources: Sequence[MergeSource], command: str) -> dict[str, object]:
    """Provenance of a merge: command, merged versions and time. The merged versions have their own provenance."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return {"command": command, "merged": [source.model_dump() for source in sources], "time": time}
