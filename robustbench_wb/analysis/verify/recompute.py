"""Recomputation of the columns of a row from its record and from the other rows of its table."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import ValidationError

from robustbench_wb.analysis.score import (
    Columns,
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
from robustbench_wb.records.record import (
    OUTPUTS_VERSION,
    PIXELS_VERSION,
    SAMPLES_VERSION,
    TEXTS_VERSION,
    Cell,
    Identity,
    Measurement,
    Record,
    State,
    SubjectCard,
)
from robustbench_wb.records.score_row import (
    CALIBRATION_COLUMNS,
    DETECTION_COLUMNS,
    LAYER_MEANS,
    OUTPUT_COLUMNS,
    ScoreRow,
)
from robustbench_wb.stressors.text_constraint import is_judged
from robustbench_wb.text_files import parse_json

Describe = Callable[[str], Mapping[str, str]]
"""Function from a stressor's signature to the columns that follow from it. Raises ``HarnessError`` for a stressor that
no longer exists."""
Regrade = Callable[[Sequence[Record]], Mapping[str, Credibility]]
"""Function from the records of one model to their credibility, by record key."""

TRAINED = "contaminates training"
"""Extra name in the result of ``Describe`` for stressors whose column ``realised`` is about the training split."""
_NOT_IN_BASELINES = ("forwards", "backwards", "wobble", "seconds", *OUTPUT_COLUMNS)
"""Columns that follow from what records of baseline files do not keep: costs, pixel counts and outputs."""


def possible_keys(row: ScoreRow) -> list[str]:
    """Keys that the record of a row may have: the written key, and the keys of ``possible_identities``."""
    own = [row.key] if row.key else []
    return list(dict.fromkeys([*own, *(identity.key for identity in possible_identities(row))]))


def possible_identities(row: ScoreRow) -> list[Identity]:
    """Identities of the measurement by the columns of a row, one per schema version, most likely first.

    Empty if the model of the row could not be built."""
    if not row.signature:
        return []
    return [
        Identity(
            signature=row.signature,
            stressor_code=row.stressor_code,
            data=row.data,
            samples=row.samples,
            weights=row.weights,
            model_code=row.model_code,
            numerics=row.numerics,
            seed=row.seed,
            ladder=tuple(row.ladder.split()),
            schema_version=version,
        )
        for version in _possible_versions(row)
    ]


def _possible_versions(row: ScoreRow) -> Sequence[int]:
    """Schema versions that the record of a row may have, most likely first."""
    if row.least_iou is not None:
        return (PIXELS_VERSION,)
    if is_judged(row.signature):
        return (TEXTS_VERSION,)
    early = tuple(range(SAMPLES_VERSION, 0, -1))
    has_outputs = any(getattr(row, name) is not None for name in (*CALIBRATION_COLUMNS, *DETECTION_COLUMNS))
    return (OUTPUTS_VERSION, *early) if has_outputs else (*early, OUTPUTS_VERSION)


def best_record(row: ScoreRow, records: Mapping[str, Record]) -> Record | None:
    """Record that matches a row best, because the key or the identity columns of the row may have been edited."""
    found = [records[key] for key in possible_keys(row) if key in records]
    return min(found, key=lambda record: len(differing_columns(row, identity_columns(record.identity))), default=None)


def differing_columns(row: ScoreRow, columns: Mapping[str, object]) -> list[str]:
    """Names of the columns that have another value in the row."""
    return [name for name, value in columns.items() if not same_value(getattr(row, name), value)]


def same_value(written: object, found: object) -> bool:
    """Whether two values are equal; floats to a relative 1e-9, because releases of scipy round differently."""
    if isinstance(written, float) and isinstance(found, int | float):
        return bool(np.isclose(written, found, rtol=1e-9, atol=1e-12))
    return written == found


def own_columns(row: ScoreRow, record: Record | None, *, partial: bool, describe: Describe) -> Columns:
    """Columns that follow from the record of a row or, without a record, from the counts of the row.

    Args:
        row: the row to verify.
        record: record of the row, if there is one.
        partial: whether the record comes from a baseline file, which keeps no costs, pixel counts and outputs.
        describe: see ``Describe``.
    """
    columns = _from_counts(row) if record is None else _from_record(row, record, describe)
    if partial:
        columns = {name: value for name, value in columns.items() if name not in _NOT_IN_BASELINES}
    if columns.get("constraint") and not row.constraint:  # a row of an earlier release
        del columns["constraint"]
    columns |= {**dict.fromkeys(LAYER_MEANS), **(_json(row.layers, layer_columns) if row.layers else {})}
    if row.checks:
        columns |= _json(row.checks, lambda _: {"grade": combine(read_checks(row.checks)).grade})
    return columns


def _json(text: str, read: Callable[[Any], Columns]) -> Columns:
    try:
        return read(parse_json(text))
    except (ValueError, KeyError, TypeError, ValidationError):
        return {}


def _from_counts(row: ScoreRow) -> Columns:
    """Columns of a row without a record: numbers that follow from its counts, and the key of its identity."""
    judged = row.n - row.errored - row.not_run
    columns: Columns = {"status": status_of(judged, row.n, row.error)}
    if row.metric == "accuracy":
        counts = {State.ROBUST: row.robust, State.BROKEN: row.broken, State.WRONG: row.wrong}
        judged = sum(counts.values())
        numbers = accuracy_columns(counts, row.n)
        columns |= {**(numbers if judged else dict.fromkeys(numbers)), "not_run": row.n - judged - row.errored}
    keys = [identity.key for identity in possible_identities(row)]
    if keys and row.key not in keys:
        columns["key"] = keys[0]
    return columns


def _from_record(row: ScoreRow, record: Record, describe: Describe) -> Columns:
    metric: Metric = "perplexity" if (record.states == State.SCORED).any() else "accuracy"
    judged = np.isin(record.states, (State.ROBUST, State.BROKEN, State.WRONG, State.SCORED)).any()
    metric = metric if judged else row.metric
    # Records do not keep error messages; without an errored or missing sample, the message must be empty.
    error = row.error if record.count(State.ERRORED) + record.count(State.NOT_RUN) else ""
    columns: Columns = {
        **record_columns(record, metric, len(record.ids), error=error),
        **identity_columns(record.identity),
        "metric": metric,
        "error": error,
    }
    try:
        named = dict(describe(record.identity.signature))
    except HarnessError:
        named = {TRAINED: ""}  # the stressor no longer exists
    if TRAINED in named:
        del named[TRAINED], columns["realised"]
    return {**columns, **named}


def table_columns(rows: Sequence[ScoreRow], records: Sequence[Record | None], regrade: Regrade) -> list[Columns]:
    """Columns of each row that follow from all rows of the table: credibility grade and best shortcut.

    Args:
        rows: all rows of the table.
        records: record of each row; None leaves the row out.
        regrade: see ``Regrade``.

    Returns:
        Columns of each row; empty for rows without a record.
    """
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
    without: Columns = {"shortcut": "", "shortcut_accuracy": None, "shortcut_p": None}
    columns: list[Columns] = []
    for index, shortcut in enumerate(shortcuts):
        if records[index] is None:
            columns.append({})
            continue
        known: Columns = dict(without) if shortcut is None else shortcut.model_dump()
        if index in grades:
            grade = grades[index]
            known |= {"grade": "", "checks": ""} if grade is None else credibility_columns(grade)
        columns.append(known)
    return columns


def _measured(row: ScoreRow, record: Record | None) -> Measurement:
    cell = Cell(
        suite=row.suite,
        suite_version=row.suite_version,
        scale=row.scale,
        task=row.task,
        variant=row.variant,
        size=row.size,
        recipe=row.recipe,
        stressor=row.stressor,
        strength=row.strength,
        seed=row.seed,
        metric=row.metric,
        protocol=row.protocol,
        classes=row.classes,
        side=row.side,
        family=row.family,
        least_iou=row.least_iou,
    )
    card = SubjectCard(parameters=row.parameters, weights=row.weights, train_seconds=row.train_seconds, trained=False)
    return Measurement(
        cell=cell,
        identity=record.identity if record else None,
        subject=card,
        record=record,
        reused=True,
        samples=row.n,
    )
