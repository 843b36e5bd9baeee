"""Score rows from measured cells. Errored and missing samples never improve a number."""

import sys
from collections.abc import Iterable, Mapping
from math import exp, isfinite, isinf, log
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.output_columns import output_columns
from robustbench_wb.analysis.shortcut_comparison import ShortcutComparison, compare_with_shortcuts
from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.records.credibility import Credibility
from robustbench_wb.records.names import Metric
from robustbench_wb.records.record import Identity, Measurement, Record, State
from robustbench_wb.records.score_row import LAYER_MEANS, ScoreRow
from robustbench_wb.spec import canonical_json
from robustbench_wb.stats.intervals import mean_interval, wilson
from robustbench_wb.stressors.text_constraint import constraint_of

Status = Literal["ok", "incomplete", "error"]
Columns = dict[str, str | int | float | None]
"""Values of some columns of a ``ScoreRow``, by name."""

_LARGEST: Final = log(sys.float_info.max)


def score_rows(measured: Iterable[Measurement]) -> list[ScoreRow]:
    """Score rows of the cells, in their order.

    n is the number of *requested* samples; samples that errored or were not run are missing.

    A cell without any judged sample has no accuracy or perplexity, and no interval.

    Accuracy is robust / n, so missing samples count as broken. The interval is Wilson's at 95 %. With missing samples
    it runs from the low end of "all missing samples broken" to the high end of "all missing samples robust".

    Perplexity is exp(mean loss), in nats per predicted token. The 95 % interval is exp of the t interval of the mean
    loss over samples. Samples are text chunks of equal length, because the tokens of one chunk are dependent. A missing
    sample could have any loss from 0 upward, so perplexity and high end are then None. The low end takes missing losses
    as 0: these losses are nowhere above the true ones, so the lower confidence bound of their mean is also one of the
    true mean. Values above the largest float are clipped.

    In segmentation, accuracy is the share of images whose mean IoU is at least that of the task. The rows also have
    mIoU and pixel accuracy, which are None if an image is missing. Calibration and out-of-distribution detection are
    columns of the rows whose records keep outputs of the model, see ``output_columns``.
    """
    cells = list(measured)
    shortcuts = compare_with_shortcuts(cells)
    return [_row(cell, shortcut).with_checksum() for cell, shortcut in zip(cells, shortcuts, strict=True)]


def record_columns(record: Record | None, metric: Metric, samples: int, *, error: str = "") -> Columns:
    """Columns that follow from the record of a cell.

    Args:
        record: record of the cell; None if no sample was judged.
        metric: metric of the task.
        samples: number of requested samples.
        error: error of the cell, one line; empty without one.
    """
    counts = {state: record.count(state) if record is not None else 0 for state in State}
    losses = _losses(record)
    if metric == "perplexity":
        judged, errored = losses.size, counts[State.ERRORED] + counts[State.SCORED] - losses.size
    else:
        judged, errored = counts[State.ROBUST] + counts[State.BROKEN] + counts[State.WRONG], counts[State.ERRORED]
    n = max(samples, judged + errored)
    numbers = _perplexity(losses, n) if metric == "perplexity" else accuracy_columns(counts, n)
    return {
        "n": n,
        **(numbers if judged else dict.fromkeys(numbers)),
        "robust": counts[State.ROBUST],
        "broken": counts[State.BROKEN],
        "wrong": counts[State.WRONG],
        "errored": errored,
        # Samples that the record does not mention were not run either.
        "not_run": n - judged - errored,
        "status": status_of(judged, n, error),
        "wobble": record.wobble if record is not None else 0,
        "forwards": _mean(record, "forwards"),
        "backwards": _mean(record, "backwards"),
        "seconds": record.seconds if record is not None else 0.0,
        "realised": _share(record, "changed", "units"),
        "obeyed": _share(record, "hit", "aimed"),
        "perturbed": record.perturbed if record is not None else "",
        "cut": _share(record, "cut", "texts"),
        "empty": _share(record, "empty", "texts"),
        **output_columns(record if 0 < judged == n else None),
    }


def identity_columns(identity: Identity) -> Columns:
    """Columns that identify what was measured."""
    same = ("signature", "data", "samples", "stressor_code", "weights", "model_code", "numerics", "seed", "key")
    return {
        **{name: getattr(identity, name) for name in same},
        "ladder": " ".join(identity.ladder),
        "constraint": constraint_of(identity.signature),
    }


def layer_columns(content: Mapping[str, Any]) -> Columns:
    """Columns with the defined means of layer measures, from the parsed JSON of the column ``layers``."""
    lists = {name: content["measures"][name]["mean"] for name in LAYER_MEANS}
    means = {name: np.mean(np.array(values, dtype=np.float64)) for name, values in lists.items()}
    return {name: float(mean) for name, mean in means.items() if isfinite(mean)}


def credibility_columns(found: Credibility) -> Columns:
    """Columns ``grade`` and ``checks``."""
    return {"grade": found.grade, "checks": canonical_json(found.checks)}


def _row(measured: Measurement, shortcut: ShortcutComparison | None) -> ScoreRow:
    cell, subject = measured.cell, measured.subject
    unknown = ("signature", "data", "samples", "stressor_code", "model_code", "numerics", "ladder", "key")
    columns: Columns = {
        **(identity_columns(measured.identity) if measured.identity is not None else dict.fromkeys(unknown, "")),
        **cell.model_dump(),
        **record_columns(measured.record, cell.metric, measured.samples, error=measured.error),
        "error": " ".join(measured.error.split()),
        "parameters": subject.parameters,
        "train_seconds": subject.train_seconds,
        "weights": subject.weights,
        **_layers(measured.layers),
        **(credibility_columns(measured.credibility) if measured.credibility is not None else {}),
        **(shortcut.model_dump() if shortcut is not None else {}),
        "flops": subject.flops,
        "peak_memory": subject.peak_memory,
        "planned": measured.planned,
        "stopped": measured.stopped,
    }
    contaminated, total = subject.contaminated
    if total:
        columns["realised"] = contaminated / total
    return ScoreRow.model_validate(columns)


def _share(record: Record | None, part: str, whole: str) -> float | None:
    """Ratio of two counts of a record's evidence; None if the second is 0 or missing."""
    return _ratio(record.evidence.get(part, 0), record.evidence.get(whole, 0)) if record is not None else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _layers(pair: LayerPair | None) -> Columns:
    """Columns with means of layer measures, and all measures as JSON; empty if layers were not measured."""
    if pair is None:
        return {}
    table, clean = pair.stressed, pair.clean is pair.stressed
    content = {
        "n": len(table.ids),
        "measures": table.plain(),
        "drift": {} if clean else {name: moved.plain() for name, moved in pair.drift.items()},
    }
    return {**layer_columns(content), "layers": canonical_json(content)}


def accuracy_columns(counts: Mapping[State, int], n: int) -> Columns:
    """Columns with the accuracy and its bounds, see ``score_rows``.

    Args:
        counts: number of samples by state.
        n: number of requested samples.
    """
    robust, best = counts[State.ROBUST], n - counts[State.BROKEN] - counts[State.WRONG]
    return {
        **dict.fromkeys(("perplexity", "perplexity_low", "perplexity_high")),
        "accuracy": robust / n if n else 0.0,
        "low": wilson(robust, n).low,
        "high": wilson(best, n).high,
        "accuracy_high": best / n if n else 1.0,
    }


def _losses(record: Record | None) -> NDArray[np.float64]:
    """Finite losses of the scored samples, (m,); a loss that is not finite is not a score."""
    if record is None:
        return np.empty(0)
    losses: NDArray[np.float64] = record.token_losses[record.states == State.SCORED]
    return losses[np.isfinite(losses)]


def _perplexity(losses: NDArray[np.float64], n: int) -> Columns:
    complete = 0 < losses.size == n
    mean, interval = mean_interval(losses if complete else np.pad(losses, (0, n - losses.size)))
    none = dict.fromkeys(("accuracy", "low", "high", "accuracy_high"))
    return {
        **none,
        "perplexity": perplexity_of(mean) if complete else None,
        "perplexity_low": perplexity_of(interval.low),
        "perplexity_high": perplexity_of(interval.high) if complete and not isinf(interval.high) else None,
    }


def perplexity_of(loss: float) -> float:
    """exp(loss), clipped to [1, largest float]: mean losses are at least 0, but low ends of intervals may not be."""
    return exp(min(max(loss, 0.0), _LARGEST))


def status_of(judged: int, n: int, error: str) -> Status:
    """Status of a row with ``judged`` of ``n`` requested samples."""
    if judged == 0:
        return "error"
    return "incomplete" if judged < n or error else "ok"


def _mean(record: Record | None, name: Literal["forwards", "backwards"]) -> float:
    """Mean passes per sample of the record; 0 without samples."""
    passes = getattr(record, name, None)
    return float(passes.mean()) if passes is not None and passes.size else 0.0
