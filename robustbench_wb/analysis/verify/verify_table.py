"""Verification of a table: recomputation of every derivable column, and identification of edited values."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from robustbench_wb.analysis.score import Columns
from robustbench_wb.analysis.verify.recompute import (
    Describe,
    Regrade,
    best_record,
    differing_columns,
    own_columns,
    possible_keys,
    same_value,
    table_columns,
)
from robustbench_wb.analysis.verify.verify_result import Discrepancy, MissingRecord, VerifyResult
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import LAYER_MEANS, ScoreRow

RECOMPUTED = "recomputed from the record"
COUNTED = "recomputed from the counts of the row"
WITHIN = "follows from another column of the row"
FROM_TABLE = "recomputed from all rows of the table"
SEALED = "with this value the checksum matches"
TWICE = "another row has the same cell"
SIBLING = "most rows with the same weights have this value"
REMOVED = "rows with counted costs have a checksum; it was removed"
UNKNOWN = "does not match the row; one of these columns was edited: "


@dataclass(frozen=True, kw_only=True)
class RecordSources:
    """Sources that the values of a table are verified against."""

    records: Mapping[str, Record]
    """Records by key, see ``records_for_verify``."""
    damaged: Mapping[str, str]
    """Reason for each damaged record, by key."""
    partial: frozenset[str]
    """Keys of records that come from a baseline file, which keeps no costs."""
    describe: Describe
    regrade: Regrade
    others: Callable[[], Sequence[ScoreRow]]
    """Rows of the other versions of the table. Called only if a row was edited and no record has the true value."""


class _Edit(NamedTuple):
    column: str
    value: object
    """Value that the column must have."""
    reason: str
    """How this value is known."""


def records_for_verify(rows: Sequence[ScoreRow]) -> list[str]:
    """Keys of the records that ``verify_table`` needs."""
    return sorted({key for row in rows for key in possible_keys(row)})


def verify_table(name: str, rows: Sequence[ScoreRow], sources: RecordSources) -> VerifyResult:
    """Verify all rows of a table.

    Columns that follow from the record are recomputed with the function that made them. The checksum of a row reveals
    any edit. If the record does not identify the edited column, columns are restored one at a time from other rows and
    versions until the checksum matches. Grade and shortcut depend on the other cells of the original run, which a table
    does not keep. A difference in them therefore counts only if the checksum of the row does not match.

    Args:
        name: name of the table, for the result.
        rows: all rows of the table.
        sources: records, graders and other versions.
    """
    return _Verification(rows, sources).result(name)


class _Verification:
    """Rows of a table with their recomputed columns."""

    def __init__(self, rows: Sequence[ScoreRow], sources: RecordSources) -> None:
        self.rows, self.sources = rows, sources
        self.records = [best_record(row, sources.records) for row in rows]
        partial = [record is not None and record.key in sources.partial for record in self.records]
        self.own = [
            own_columns(row, record, partial=part, describe=sources.describe)
            for row, record, part in zip(rows, self.records, partial, strict=True)
        ]
        # A baseline lacks some of the records that its rows were graded with.
        whole = [None if part else record for record, part in zip(self.records, partial, strict=True)]
        self.from_table = table_columns(rows, whole, sources.regrade)
        self.cells = Counter(row.slot for row in rows)
        self.intact = [row.checksum == row.computed_checksum for row in rows]

    @cached_property
    def others(self) -> list[ScoreRow]:
        """Rows that may hold the original value of an edited column."""
        return [*self.rows, *self.sources.others()]

    def result(self, name: str) -> VerifyResult:
        """Counts and findings over all rows; ``name`` is the name of the table."""
        rows, records = self.rows, self.records
        damaged = [self.sources.damaged.get(row.key, "") for row in rows]
        gone = [
            record is None and not reason and row.status == "ok"
            for row, record, reason in zip(rows, records, damaged, strict=True)
        ]
        found = [item for index in range(len(rows)) for item in self._discrepancies(index, damaged[index])]
        return VerifyResult(
            name=name,
            rows=len(rows),
            recomputed=sum(record is not None for record in records),
            unrecorded=sum(record is None and row.status != "ok" for row, record in zip(rows, records, strict=True)),
            unsealed=sum(not row.checksum for row in rows),
            sealed_only=tuple(
                name for name in ScoreRow.model_fields if any(name in self._sealed(i) for i in _range(rows))
            ),
            context=sum(
                intact and bool(differing_columns(row, columns))
                for intact, row, columns in zip(self.intact, rows, self.from_table, strict=True)
            ),
            discrepancies=tuple(found),
            missing=tuple(MissingRecord(number=i + 1, row=rows[i]) for i in _range(rows) if gone[i]),
        )

    def _sealed(self, index: int) -> list[str]:
        """Columns of a row that only its checksum protects."""
        known = {*self.own[index], *self.from_table[index], "checksum"}
        return [name for name in ScoreRow.model_fields if name not in known]

    def _discrepancies(self, index: int, damaged: str) -> Iterator[Discrepancy]:
        row = self.rows[index]

        def discrepancy(edit: _Edit) -> Discrepancy:
            return Discrepancy(
                number=index + 1,
                row=row,
                column=edit.column,
                written=getattr(row, edit.column, None),
                found=edit.value,
                reason=edit.reason,
            )

        if damaged:
            yield discrepancy(_Edit("record", None, damaged))
        if self.cells[row.slot] > 1:
            yield discrepancy(_Edit("cell", None, TWICE))
        yield from map(discrepancy, self._edits(index))

    def _edits(self, index: int) -> list[_Edit]:
        """Columns of a row that do not match their sources."""
        row, own, from_table = self.rows[index], self.own[index], self.from_table[index]
        wrong = [_Edit(name, own[name], self._how(index, name)) for name in differing_columns(row, own)]
        if self.intact[index]:
            return wrong
        if not row.checksum:
            known = {edit.column for edit in wrong}
            rest = {name: value for name, value in from_table.items() if name not in known}
            # Costs and checksum came with the same schema, so that no earlier release wrote one without the other.
            removed = [_Edit("checksum", None, REMOVED)] if row.flops or row.peak_memory else []
            return [*wrong, *_ungraded_edits(row, rest), *self._parameter_edits(row), *removed]
        whole = self._restored(index)
        if whole is not None:
            return [
                _Edit(name, getattr(whole, name), self._how(index, name))
                for name in ScoreRow.model_fields
                if getattr(row, name) != getattr(whole, name)
            ]
        return [*wrong, _Edit("checksum", row.computed_checksum, UNKNOWN + ", ".join(self._sealed(index)))]

    def _how(self, index: int, column: str) -> str:
        """Source of the value that a column must have."""
        if column in (*LAYER_MEANS, "grade"):
            return WITHIN
        if column in self.own[index]:
            return RECOMPUTED if self.records[index] is not None else COUNTED
        return FROM_TABLE if column in self.from_table[index] else SEALED

    def _restored(self, index: int) -> ScoreRow | None:
        """Row whose checksum matches; None if no combination of known values gives the checksum."""
        row, own, from_table = self.rows[index], self.own[index], self.from_table[index]
        trials = [row.model_copy(update=update) for update in ({**from_table, **own}, own, {})]
        every = [*trials, *(other.model_copy(update={"checksum": row.checksum}) for other in self.others)]
        for trial in every:
            if trial.computed_checksum == row.checksum:
                return trial
        for name in self._sealed(index):
            for value in dict.fromkeys(getattr(other, name) for other in self.others):
                for trial in trials:
                    single = trial.model_copy(update={name: value})
                    if single.computed_checksum == row.checksum:
                        return single
        return next((other for other in self.others if _equal_but_checksum(row, other)), None)

    def _parameter_edits(self, row: ScoreRow) -> list[_Edit]:
        """Wrong number of parameters of a row, by majority of the rows with the same weights and code."""
        if not row.weights:
            return []
        kin = [other for other in self.rows if (other.weights, other.model_code) == (row.weights, row.model_code)]
        most, _ = Counter(other.parameters for other in kin).most_common(1)[0]
        return [] if same_value(row.parameters, most) else [_Edit("parameters", most, SIBLING)]


def _ungraded_edits(row: ScoreRow, from_table: Columns) -> list[_Edit]:
    """Wrong grade or shortcut of a row without a checksum; tables of early versions have no grades."""
    names = [
        name
        for name in differing_columns(row, from_table)
        if name not in ("grade", "checks") or row.checks or row.grade
    ]
    return [_Edit(name, from_table[name], FROM_TABLE) for name in names]


def _range(rows: Sequence[ScoreRow]) -> range:
    return range(len(rows))


def _equal_but_checksum(row: ScoreRow, other: ScoreRow) -> bool:
    return row.computed_checksum == other.computed_checksum == other.checksum
