"""From measured cells to rows of a table: numbers in which an error never helps."""

import sys
from collections.abc import Iterable, Mapping
from math import exp, isfinite, isinf, log
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.shortcut_comparison import ShortcutComparison, compare_with_shortcuts
from robustbench_wb.layers.drift import LayerPair
from robustbench_wb.records.credibility import Credibility
from robustbench_wb.records.names import Metric
from robustbench_wb.records.record import Identity, Measurement, Record, State
from robustbench_wb.records.score_row import LAYER_MEANS, ScoreRow
from robustbench_wb.spec import canonical_json
from robustbench_wb.stats.intervals import mean_interval, wilson

Status = Literal["ok", "incomplete", "error"]
_LARGEST = log(sys.float_info.max)


def score_rows(measured: Iterable[Measurement]) -> list[ScoreRow]:
    """One row per cell, in order. n is the number of samples *asked for*; what errored or was not run is missing.

    Accuracy is robust / n: missing samples count as broken. Its interval is Wilson's (95 %); with missing samples it
    runs from the low end of "all of them broken" to the high end of "all of them robust".

    Perplexity is exp(mean loss), in nats per predicted token. Its 95 % interval is exp of the t interval of that mean
    over the samples: chunks of text of equal length are the unit, because tokens of one chunk depend on each other.
    A missing sample could have any loss from 0 upward, so that there is no perplexity then and no high end. The low end
    is that of "all of them had a loss of 0": those losses are nowhere above the true ones, so that their mean's
    lower confidence bound is one for the true mean. What exceeds the largest float is cut there.
    """
    cells = list(measured)
    return [_row(cell, beside).sealed() for cell, beside in zip(cells, compare_with_shortcuts(cells), strict=True)]


def record_columns(record: Record | None, metric: Metric, samples: int, error: str = "") -> dict[str, Any]:
    """The columns that the record of a cell decides, for so many samples asked for; without one, nothing was judged."""
    counts = {state: record.count(state) if record is not None else 0 for state in State}
    losses = _losses(record)
    if metric == "perplexity":
        judged, errored = losses.size, counts[State.ERRORED] + counts[State.SCORED] - losses.size
    else:
        judged, errored = counts[State.ROBUST] + counts[State.BROKEN] + counts[State.WRONG], counts[State.ERRORED]
    n = max(samples, judged + errored)
    return {
        "n": n,
        **(_perplexity(losses, n) if metric == "perplexity" else accuracy_columns(counts, n)),
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
    }


def identity_columns(identity: Identity) -> dict[str, str | int]:
    """The columns that say what was measured."""
    same = ("signature", "data", "samples", "stressor_code", "weights", "model_code", "numerics", "seed", "key")
    return {**{name: getattr(identity, name) for name in same}, "ladder": " ".join(identity.ladder)}


def layer_columns(content: Mapping[str, Any]) -> dict[str, float]:
    """The means that have a column of their own, from the JSON of the column ``layers``; those that are defined."""
    lists = {name: content["measures"][name]["mean"] for name in LAYER_MEANS}
    means = {name: np.mean(np.array(values, dtype=np.float64)) for name, values in lists.items()}
    return {name: float(mean) for name, mean in means.items() if isfinite(mean)}


def credibility_columns(found: Credibility) -> dict[str, Any]:
    """Grade and checks."""
    return {"grade": found.grade, "checks": canonical_json(found.checks)}


def _row(measured: Measurement, beside: ShortcutComparison | None) -> ScoreRow:
    cell, subject = measured.cell, measured.subject
    nothing = dict.fromkeys(("signature", "data", "samples", "stressor_code", "model_code", "numerics", "ladder"), "")
    columns = {
        **(identity_columns(measured.identity) if measured.identity is not None else {**nothing, "key": ""}),
        **cell.model_dump(),
        **record_columns(measured.record, cell.metric, measured.samples, measured.error),
        "error": " ".join(measured.error.split()),
        "parameters": subject.parameters,
        "train_seconds": subject.train_seconds,
        "weights": subject.weights,
        **_layers(measured.layers),
        **(credibility_columns(measured.credibility) if measured.credibility is not None else {}),
        **(beside.model_dump() if beside is not None else {}),
        "flops": subject.flops,
        "peak_memory": subject.peak_memory,
    }
    if subject.contaminated[1]:
        columns["realised"] = _ratio(*subject.contaminated)
    return ScoreRow.model_validate(columns)


def _share(record: Record | None, part: str, whole: str) -> float | None:
    """One count of a record's evidence as a share of another; None where there is nothing."""
    return _ratio(record.evidence.get(part, 0), record.evidence.get(whole, 0)) if record is not None else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _layers(pair: LayerPair | None) -> dict[str, Any]:
    """What the layers amount to, and all of it as JSON; nothing where they were not measured."""
    if pair is None:
        return {}
    table, clean = pair.stressed, pair.clean is pair.stressed
    content = {
        "n": len(table.ids),
        "measures": table.plain(),
        "drift": {} if clean else {name: moved.plain() for name, moved in pair.drift.items()},
    }
    return {**layer_columns(content), "layers": canonical_json(content)}


def accuracy_columns(counts: Mapping[State, int], n: int) -> dict[str, float | None]:
    """Accuracy and its bounds; see :func:`score_rows`."""
    robust, best = counts[State.ROBUST], n - counts[State.BROKEN] - counts[State.WRONG]
    return {
        **dict.fromkeys(("perplexity", "perplexity_low", "perplexity_high")),
        "accuracy": robust / n if n else 0.0,
        "low": wilson(robust, n).low,
        "high": wilson(best, n).high,
        "accuracy_high": best / n if n else 1.0,
    }


def _losses(record: Record | None) -> NDArray[np.float64]:
    """The losses of the scored samples, as far as they are finite: any other is no score."""
    if record is None:
        return np.empty(0)
    losses: NDArray[np.float64] = record.token_losses[record.states == State.SCORED]
    return losses[np.isfinite(losses)]


def _perplexity(losses: NDArray[np.float64], n: int) -> dict[str, float | None]:
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
    """exp, from 1 (no mean loss is below 0, though the low end of its interval may be) to the largest float."""
    return exp(min(max(loss, 0.0), _LARGEST))


def status_of(judged: int, n: int, error: str) -> Status:
    """What a row says of itself that has so many judged samples of ``n``."""
    if judged == 0:
        return "error"
    return "incomplete" if judged < n or error else "ok"


def _mean(record: Record | None, name: Literal["forwards", "backwards"]) -> float:
    """Passes per sample of the record; 0 without samples."""
    passes = getattr(record, name, None)
    return float(passes.mean()) if passes is not None and passes.size else 0.0
