"""From measured cells to rows of a table: accuracies in which an error never counts as robust."""

from collections.abc import Iterable
from typing import Literal

from robustbench_wb.engine.record import Measured, Record, State
from robustbench_wb.stats.intervals import wilson
from robustbench_wb.store.rows import ScoreRow

Status = Literal["ok", "incomplete", "error"]


def score_rows(measured: Iterable[Measured]) -> list[ScoreRow]:
    """One row per cell, in order.

    The accuracy is robust / n, with n the samples *asked for*: what errored or was not run counts as broken.
    Its interval is Wilson's (95 %); with such samples it runs from the low end of "all of them broken" to the
    high end of "all of them robust".
    """
    return [_row(cell) for cell in measured]


def _row(measured: Measured) -> ScoreRow:
    record, identity, subject = measured.record, measured.identity, measured.subject
    counts = {state: record.count(state) if record is not None else 0 for state in State}
    judged = counts[State.ROBUST] + counts[State.BROKEN] + counts[State.WRONG]
    n = max(measured.samples, judged + counts[State.ERRORED])
    # Samples that the record does not mention were not run either.
    not_run = n - judged - counts[State.ERRORED]
    robust, best = counts[State.ROBUST], n - counts[State.BROKEN] - counts[State.WRONG]
    return ScoreRow(
        **measured.cell.model_dump(),
        signature=identity.signature if identity else "",
        n=n,
        accuracy=robust / n if n else 0.0,
        low=wilson(robust, n).low,
        high=wilson(best, n).high,
        accuracy_high=best / n if n else 1.0,
        robust=robust,
        broken=counts[State.BROKEN],
        wrong=counts[State.WRONG],
        errored=counts[State.ERRORED],
        not_run=not_run,
        status=_status(judged, n, measured.error),
        error=" ".join(measured.error.split()),
        wobble=record.wobble if record is not None else 0,
        forwards=_mean(record, "forwards"),
        backwards=_mean(record, "backwards"),
        seconds=record.seconds if record is not None else 0.0,
        parameters=subject.parameters,
        train_seconds=subject.train_seconds,
        weights=subject.weights,
        data=identity.data if identity else "",
        samples=identity.samples if identity else "",
        stressor_code=identity.stressor_code if identity else "",
        model_code=identity.model_code if identity else "",
        numerics=identity.numerics if identity else "",
        ladder=" ".join(identity.ladder) if identity else "",
        key=identity.key if identity else "",
    )


def _status(judged: int, n: int, error: str) -> Status:
    if judged == 0:
        return "error"
    return "incomplete" if judged < n or error else "ok"


def _mean(record: Record | None, name: Literal["forwards", "backwards"]) -> float:
    """Passes per sample of the record; 0 without samples."""
    passes = getattr(record, name, None)
    return float(passes.mean()) if passes is not None and passes.size else 0.0
