"""Is every number of a table what its record says? Recomputing all that can be, and naming what was edited."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from robustbench_wb.analysis.verify.recompute import (
    Columns,
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
BESIDE = "recomputed beside the other rows"
SEALED = "with it the checksum fits"
TWICE = "another row is of the same cell"
SIBLING = "other rows of the same weights say so"
UNKNOWN = "does not fit the row, and nothing tells which of these was edited: "


@dataclass(frozen=True)
class RecordSources:
    """Where the truth about rows is looked for."""

    records: Mapping[str, Record]
    """By key, those of :func:`wanted`."""
    damaged: Mapping[str, str]
    """Keys of records that are not what was written, and why."""
    partial: frozenset[str]
    """Keys of records that a baseline file brought: they have no costs."""
    describe: Describe
    regrade: Regrade
    others: Callable[[], Sequence[ScoreRow]]
    """Rows of the other versions of the table; asked for only when a row was edited where no record helps."""


def records_for_verify(rows: Sequence[ScoreRow]) -> list[str]:
    """Keys of the records that :func:`verify` needs."""
    return sorted({key for row in rows for key in possible_keys(row)})


def verify_table(name: str, rows: Sequence[ScoreRow], sources: RecordSources) -> VerifyResult:
    """Look through a table.

    A column that follows from the record is recomputed by the function that made it. Every edit shows in the row's
    checksum; where the record does not tell what was edited, columns are put back, one at a time, to what other rows or
    versions hold, until the checksum fits. Grade and shortcut depend on what was measured in the same run, which a
    table does not keep: that they come out differently is held against a row only when its checksum does not vouch for
    them.
    """
    return _Examination(rows, sources).verification(name)


class _Examination:
    """The rows with what they must be."""

    def __init__(self, rows: Sequence[ScoreRow], sources: RecordSources) -> None:
        self.rows, self.sources = rows, sources
        self.records = [best_record(row, sources.records) for row in rows]
        partial = [record is not None and record.key in sources.partial for record in self.records]
        self.own = [
            own_columns(row, record, part, sources.describe)
            for row, record, part in zip(rows, self.records, partial, strict=True)
        ]
        # A baseline has not all that its rows were graded by.
        whole = [None if part else record for record, part in zip(self.records, partial, strict=True)]
        self.beside = table_columns(rows, whole, sources.regrade)
        self.cells = Counter(row.slot for row in rows)
        self.intact = [row.checksum == row.fingerprint for row in rows]

    @cached_property
    def others(self) -> list[ScoreRow]:
        """Rows that may hold what a row held before it was edited."""
        return [*self.rows, *self.sources.others()]

    def verification(self, name: str) -> VerifyResult:
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
            context=sum(self.intact[i] and bool(differing_columns(row, self.beside[i])) for i, row in enumerate(rows)),
            discrepancies=tuple(found),
            missing=tuple(MissingRecord(number=i + 1, row=rows[i]) for i in _range(rows) if gone[i]),
        )

    def _sealed(self, index: int) -> list[str]:
        """Columns of a row that nothing but its checksum vouches for."""
        known = {*self.own[index], *self.beside[index], "checksum"}
        return [name for name in ScoreRow.model_fields if name not in known]

    def _discrepancies(self, index: int, damaged: str) -> Iterator[Discrepancy]:
        row = self.rows[index]

        def named(column: str, value: Any, reason: str) -> Discrepancy:
            written = getattr(row, column, None)
            return Discrepancy(number=index + 1, row=row, column=column, written=written, found=value, reason=reason)

        if damaged:
            yield named("record", None, damaged)
        if self.cells[row.slot] > 1:
            yield named("cell", None, TWICE)
        yield from (named(*item) for item in self._edits(index))

    def _edits(self, index: int) -> list[tuple[str, Any, str]]:
        """The columns of a row that are not what they must be, what they must be, and how that is known."""
        row, own, beside = self.rows[index], self.own[index], self.beside[index]
        wrong = [(name, own[name], self._how(index, name)) for name in differing_columns(row, own)]
        if self.intact[index]:
            return wrong
        if not row.checksum:
            known = {name for name, _, _ in wrong}
            return [
                *wrong,
                *self._beside(row, {name: value for name, value in beside.items() if name not in known}),
                *self._of_weights(row),
            ]
        whole = self._restored(index)
        if whole is not None:
            return [
                (name, getattr(whole, name), self._how(index, name))
                for name in ScoreRow.model_fields
                if getattr(row, name) != getattr(whole, name)
            ]
        return [*wrong, ("checksum", row.fingerprint, UNKNOWN + ", ".join(self._sealed(index)))]

    def _how(self, index: int, column: str) -> str:
        """How it is known what a column must be."""
        if column in (*LAYER_MEANS, "grade"):
            return WITHIN
        if column in self.own[index]:
            return RECOMPUTED if self.records[index] is not None else COUNTED
        return BESIDE if column in self.beside[index] else SEALED

    def _restored(self, index: int) -> ScoreRow | None:
        """The row as it was when its checksum was written; None where that cannot be found out."""
        row, own, beside = self.rows[index], self.own[index], self.beside[index]
        trials = [row.model_copy(update=update) for update in ({**beside, **own}, own, {})]
        every = [*trials, *(other.model_copy(update={"checksum": row.checksum}) for other in self.others)]
        for trial in every:
            if trial.fingerprint == row.checksum:
                return trial
        for name in self._sealed(index):
            for value in dict.fromkeys(getattr(other, name) for other in self.others):
                for trial in trials:
                    single = trial.model_copy(update={name: value})
                    if single.fingerprint == row.checksum:
                        return single
        return next((other for other in self.others if _equal_but_checksum(row, other)), None)

    @staticmethod
    def _beside(row: ScoreRow, beside: Columns) -> list[tuple[str, Any, str]]:
        """Of a row without a checksum; an earlier harness gave no grades."""
        names = [
            name
            for name in differing_columns(row, beside)
            if name not in ("grade", "checks") or row.checks or row.grade
        ]
        return [(name, beside[name], BESIDE) for name in names]

    def _of_weights(self, row: ScoreRow) -> list[tuple[str, Any, str]]:
        """The parameters, where rows of the same weights disagree: those of most of them."""
        if not row.weights:
            return []
        kin = [other for other in self.rows if (other.weights, other.model_code) == (row.weights, row.model_code)]
        most, _ = Counter(other.parameters for other in kin).most_common(1)[0]
        return [] if same_value(row.parameters, most) else [("parameters", most, SIBLING)]


def _range(rows: Sequence[ScoreRow]) -> range:
    return range(len(rows))


def _equal_but_checksum(row: ScoreRow, other: ScoreRow) -> bool:
    return row.fingerprint == other.fingerprint == other.checksum
