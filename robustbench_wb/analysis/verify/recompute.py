"""What the columns of a row must be, from its record and from the other rows of its table."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from robustbench_wb.analysis.score import (
    accuracy_columns,
    credibility_columns,
    identity_columns,
    layer_columns,
    record_columns,
    status_of,
)
from robustbench_wb.analysis.shortcut_comparison import compare_with_shortcuts
from robustbench_wb.errors import HarnessError
from robustbench_wb.records.credibility import Credibility, combine, read_checks
from robustbench_wb.records.names import Metric
from robustbench_wb.records.record import SCHEMA_VERSION, Cell, Identity, Measurement, Record, State, SubjectCard
from robustbench_wb.records.score_row import LAYER_MEANS, ScoreRow

Columns = dict[str, Any]
Describe = Callable[[str], Mapping[str, str]]
"""The columns that a stressor's signature decides; a ``HarnessError`` where there is no such stressor any more."""
Regrade = Callable[[Sequence[Record]], Mapping[str, Credibility]]
"""The grades of the records of one subject by key."""

TRAINED = "contaminates training"
"""What ``Describe`` names beside the columns where the share ``realised`` is of the training split."""
_COSTS = ("forwards", "backwards", "wobble", "seconds")


def possible_keys(row: ScoreRow) -> list[str]:
    """Keys that a row's record may have: the one written, and those of what the row says was measured."""
    own = [row.key] if row.key else []
    return list(dict.fromkeys([*own, *(identity.key for identity in possible_identities(row))]))


def possible_identities(row: ScoreRow) -> list[Identity]:
    """What the row says was measured, in every version of the schema; none where there was no subject."""
    if not row.signature:
        return []
    names = ("signature", "stressor_code", "data", "samples", "weights", "model_code", "numerics", "seed")
    fields = {name: getattr(row, name) for name in names}
    versions = range(SCHEMA_VERSION, 0, -1)
    return [Identity(**fields, ladder=tuple(row.ladder.split()), schema_version=version) for version in versions]


def best_record(row: ScoreRow, records: Mapping[str, Record]) -> Record | None:
    """The record that fits a row best: its key, or what it says was measured, may have been edited."""
    found = [records[key] for key in possible_keys(row) if key in records]
    return min(found, key=lambda record: len(differing_columns(row, identity_columns(record.identity))), default=None)


def differing_columns(row: ScoreRow, columns: Mapping[str, Any]) -> list[str]:
    """Those of the columns that have another value in the row."""
    return [name for name, value in columns.items() if not same_value(getattr(row, name), value)]


def same_value(written: object, found: object) -> bool:
    """Equal, numbers to 1e-9 of their size: the functions of another release of scipy round differently."""
    if isinstance(written, float) and isinstance(found, int | float):
        return bool(np.isclose(written, found, rtol=1e-9, atol=1e-12))
    return written == found


def own_columns(row: ScoreRow, record: Record | None, partial: bool, describe: Describe) -> Columns:
    """What follows from the record of a row; without one, what follows from its counts.

    Args:
        row: what is looked at.
        record: its own.
        partial: whether that is of a baseline file, which keeps no costs.
        describe: see above.
    """
    columns = _from_counts(row) if record is None else _from_record(row, record, describe)
    if partial:
        columns = {name: value for name, value in columns.items() if name not in _COSTS}
    columns |= {**dict.fromkeys(LAYER_MEANS), **(_json(row.layers, layer_columns) if row.layers else {})}
    if row.checks:
        columns |= _json(row.checks, lambda _: {"grade": combine(read_checks(row.checks)).grade})
    return columns


def _json(text: str, read: Callable[[Any], Columns]) -> Columns:
    try:
        return read(json.loads(text))
    except (ValueError, KeyError, TypeError, ValidationError):
        return {}


def _from_counts(row: ScoreRow) -> Columns:
    """Of a row without a record: its numbers follow from its counts, and its key from what was measured."""
    judged = row.n - row.errored - row.not_run
    columns: Columns = {"status": status_of(judged, row.n, row.error)}
    if row.metric == "accuracy":
        counts = {State.ROBUST: row.robust, State.BROKEN: row.broken, State.WRONG: row.wrong}
        judged = sum(counts.values())
        columns |= {**accuracy_columns(counts, row.n), "not_run": row.n - judged - row.errored}
    keys = [identity.key for identity in possible_identities(row)]
    if keys and row.key not in keys:
        columns["key"] = keys[0]
    return columns


def _from_record(row: ScoreRow, record: Record, describe: Describe) -> Columns:
    metric: Metric = "perplexity" if (record.states == State.SCORED).any() else "accuracy"
    judged = np.isin(record.states, (State.ROBUST, State.BROKEN, State.WRONG, State.SCORED)).any()
    metric = metric if judged else row.metric
    # What went wrong is kept nowhere; where nothing did, there is nothing to tell.
    error = row.error if record.count(State.ERRORED) + record.count(State.NOT_RUN) else ""
    columns: Columns = {
        **record_columns(record, metric, len(record.ids), error),
        **identity_columns(record.identity),
        "metric": metric,
        "error": error,
    }
    try:
        named = dict(describe(record.identity.signature))
    except HarnessError:
        named = {TRAINED: ""}  # of a stressor that there is not any more
    if TRAINED in named:
        del named[TRAINED], columns["realised"]
    return {**columns, **named}


def table_columns(rows: Sequence[ScoreRow], records: Sequence[Record | None], regrade: Regrade) -> list[dict[str, Any]]:
    """What follows for each row from all rows of the table: its grade, and the shortcut beside it."""
    grades: dict[int, Credibility | None] = {}
    subjects: dict[tuple[object, ...], list[int]] = {}
    for index, row in enumerate(rows):
        if records[index] is not None:
            subjects.setdefault((row.suite, row.suite_version, row.scale, row.task, *row.subject), []).append(index)
    for members in subjects.values():
        try:
            found = regrade([record for index in members if (record := records[index]) is not None])
        except HarnessError:
            continue
        grades |= {index: found.get(getattr(records[index], "key", "")) for index in members}
    shortcuts = compare_with_shortcuts([_measured(row, record) for row, record in zip(rows, records, strict=True)])
    none = dict.fromkeys(("shortcut_accuracy", "shortcut_p"))
    columns: list[Columns] = []
    for index, beside in enumerate(shortcuts):
        if records[index] is None:
            columns.append({})
            continue
        known: Columns = {"shortcut": "", **none} if beside is None else beside.model_dump()
        if index in grades:
            grade = grades[index]
            known |= {"grade": "", "checks": ""} if grade is None else credibility_columns(grade)
        columns.append(known)
    return columns


def _measured(row: ScoreRow, record: Record | None) -> Measurement:
    cell = Cell(**{name: getattr(row, name) for name in Cell.model_fields})
    card = SubjectCard(parameters=row.parameters, weights=row.weights, train_seconds=row.train_seconds, trained=False)
    identity = record.identity if record else None
    return Measurement(cell=cell, identity=identity, subject=card, record=record, reused=True, samples=row.n)
