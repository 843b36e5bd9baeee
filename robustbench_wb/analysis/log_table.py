"""Score tables made of per-sample logs of other tools, so that such logs are compared and gated like versions."""

from collections.abc import Iterable, Sequence

import numpy as np

from robustbench_wb.analysis.score import score_rows
from robustbench_wb.errors import StoreError
from robustbench_wb.records.record import Cell, Identity, Measurement, Record, State, SubjectCard
from robustbench_wb.spec import digest
from robustbench_wb.store.loaded_table import LoadedTable
from robustbench_wb.store.sample_logs.sample_log import Outcomes, SampleLog

_STATES = {1.0: State.ROBUST, 0.0: State.WRONG, None: State.ERRORED}


def sample_numbering(logs: Iterable[SampleLog]) -> tuple[str, ...]:
    """Names of all samples of some logs, sorted; the position of a name is the id of its sample in their records."""
    return tuple(sorted({name for log in logs for outcomes in log.cells.values() for name in outcomes}))


def log_table(log: SampleLog, name: str, *, task: str, numbering: Sequence[str]) -> LoadedTable:
    """Table with one row per metric and part of a log, which also holds the records.

    A metric is a suite of one cell per part, so that a mean is taken over the filters or epochs of one metric, and
    never over different metrics. The model is called ``model`` in every log: two logs are two versions of it. Samples
    that failed are errored, samples without an entry were not run, and neither counts as correct.

    Args:
        log: the log.
        name: name of the table.
        task: name of the task in the rows, the same one for logs that are compared.
        numbering: names of the samples, see ``sample_numbering``.

    Raises:
        StoreError: no metric of the log is 0 or 1 for every sample.
    """
    graded = {cell: outcomes for cell, outcomes in log.cells.items() if is_graded(outcomes)}
    if not graded:
        metrics = ", ".join(sorted({metric for metric, _ in log.cells})) or "none at all"
        raise StoreError(f"{name!r} has no metric that is 0 or 1 for every sample, which paired tests need: {metrics}")
    parts: dict[str, dict[str, None]] = {}
    for (_, part), outcomes in log.cells.items():
        parts.setdefault(part, {}).update(dict.fromkeys(outcomes))
    ids = {sample: number for number, sample in enumerate(numbering)}
    measured = [
        _measurement(
            log, cell, outcomes={sample: outcomes.get(sample) for sample in parts[cell[1]]}, task=task, ids=ids
        )
        for cell, outcomes in graded.items()
    ]
    records = {one.record.key: one.record for one in measured if one.record is not None}
    return LoadedTable(name=name, rows=score_rows(measured), location="", records=records)


def is_graded(outcomes: Outcomes) -> bool:
    """Whether a metric is 0 or 1 wherever it has a value, and has one somewhere."""
    values = set(outcomes.values())
    return bool(values - {None}) and values <= _STATES.keys()


def _measurement(
    log: SampleLog, cell: tuple[str, str], *, outcomes: Outcomes, task: str, ids: dict[str, int]
) -> Measurement:
    metric, part = cell
    names = sorted(outcomes)
    identity = Identity(
        signature=";".join(word for word in (log.tool, metric, part) if word),
        ladder=(),
        stressor_code="",
        data=log.task or task,
        samples=digest(names),
        weights=log.digest,
        model_code="",
        numerics="",
        seed=0,
    )
    record = Record(
        identity=identity,
        ids=np.array([ids[name] for name in names], dtype=np.int32),
        states=np.array([_STATES[outcomes[name]] for name in names], dtype=np.int8),
        losses=np.full(len(names), np.nan, dtype=np.float32),
        forwards=np.zeros(len(names), dtype=np.int32),
        backwards=np.zeros(len(names), dtype=np.int32),
        wobble=0,
        seconds=0.0,
    )
    named = Cell(
        suite=metric,
        suite_version=1,
        scale="full",
        task=task,
        variant="model",
        size="",
        recipe="logged",
        stressor=metric,
        strength=part,
        seed=0,
    )
    failed = record.count(State.ERRORED)
    return Measurement(
        cell=named,
        identity=identity,
        subject=SubjectCard(parameters=0, weights=log.digest, train_seconds=0.0, trained=False),
        record=record,
        reused=False,
        samples=max(len(names), log.requested),
        error=f"{failed} of {len(names)} samples have no value" if failed else "",
    )


def log_differences(old: SampleLog, new: SampleLog) -> tuple[str, ...]:
    """What two logs say differently about model, prompts, samples and metrics, one line each."""
    facts = {"task": (old.task, new.task), **{key: (old.facts.get(key), new.facts.get(key)) for key in old.facts}}
    lines = [
        f"{key}: {before} and {after}" for key, (before, after) in facts.items() if before and after and before != after
    ]
    before, after = (set(sample_numbering((log,))) for log in (old, new))
    if before != after:
        common = f"{len(before)} and {len(after)} samples, {len(before & after)} in both logs"
        lines.append(f"{common} (same id, document and target); allow samples to compare those")
    both = [name for name in sorted(before & after) if old.prompts.get(name) and new.prompts.get(name)]
    changed = sum(old.prompts[name] != new.prompts[name] for name in both)
    if changed:
        lines.append(f"the prompts of {changed} of {len(both)} common samples differ")
    return (*lines, *_left_out(old, new))


def _left_out(*logs: SampleLog) -> list[str]:
    found = {metric for log in logs for (metric, _), outcomes in log.cells.items() if not is_graded(outcomes)}
    return [f"left out, because not 0 or 1 for every sample: {', '.join(sorted(found))}"] if found else []
