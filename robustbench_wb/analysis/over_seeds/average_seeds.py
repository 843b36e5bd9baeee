"""Headline numbers of a table, averaged over the seeds of each architecture."""

from collections.abc import Iterable, Mapping, Sequence
from math import exp, isinf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.headline.headline_columns import PlannedColumn, headline_columns
from robustbench_wb.analysis.headline.joint_accuracy import JointAccuracy
from robustbench_wb.analysis.headline.make_headline import column_number, latest_panels
from robustbench_wb.analysis.over_seeds.seed_letters import seed_letters
from robustbench_wb.analysis.over_seeds.seed_means import Architecture, SeedMean, SeedMeans, SeedPanel
from robustbench_wb.analysis.row_order import CellKey, cell_key
from robustbench_wb.analysis.sample_scores import SampleScores, sample_score_interval
from robustbench_wb.records.credibility import GRADES
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.crossed_effects import crossed_reach
from robustbench_wb.stats.intervals import Interval, wilson


def average_seeds(rows: Iterable[ScoreRow], records: Mapping[str, Record]) -> SeedMeans:
    """Mean and deviation of every headline number over the seeds of each architecture.

    Args:
        rows: rows of a table, in any order; of several rows with one slot, the last is used.
        records: records by key, see ``records_for_headline``. Numbers with missing records have no intervals.
    """
    return SeedMeans(panels=tuple(_panel(members, records) for members in latest_panels(rows)))


def _panel(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> SeedPanel:
    planned, main = headline_columns(rows)
    members: dict[tuple[str, str, str], dict[int, dict[CellKey, ScoreRow]]] = {}
    for row in rows:
        by_seed = members.setdefault((row.variant, row.size, row.recipe), {})
        by_seed.setdefault(row.seed, {})[cell_key(row)] = row
    accuracy = rows[0].metric == "accuracy"
    scored: list[tuple[Architecture, dict[int, SampleScores]]] = []
    for (variant, size, recipe), own in members.items():
        seeds = tuple(sorted(own))
        found = [[column_number(own[seed], column, records) for seed in seeds] for column in planned]
        numbers = tuple(_mean(one, column, accuracy) for one, column in zip(found, planned, strict=True))
        line = Architecture(variant=variant, size=size, recipe=recipe, seeds=seeds, numbers=numbers)
        scored.append((line, {seed: one.scores for seed, one in zip(seeds, found[main], strict=True)}))
    scored.sort(key=lambda one: _place(one[0], main, accuracy))
    letters, tests = seed_letters([own for _, own in scored], cells=_averaged(planned[main]) or 1, accuracy=accuracy)
    return SeedPanel(
        **rows[0].panel._asdict(),
        columns=tuple(column.column for column in planned),
        main=main,
        tests=tests,
        lines=tuple(line.model_copy(update={"group": group}) for (line, _), group in zip(scored, letters, strict=True)),
    )


def _averaged(planned: PlannedColumn) -> int | None:
    """Number of cells whose outcomes are averaged. None under the rules clean and joint: a sample has one outcome,
    however many cells it combines."""
    return len(planned.cells) if planned.column.rule == "mean" else None


def _place(line: Architecture, main: int, accuracy: bool) -> tuple[object, ...]:
    number = line.numbers[main]
    names = (line.variant, line.size, line.recipe)
    if accuracy:
        return (-(0.0 if number.grade == "F" else round(number.mean or 0.0, 12)), *names)
    return (number.mean is None, number.mean or 0.0, *names)


def _mean(found: Sequence[JointAccuracy], planned: PlannedColumn, accuracy: bool) -> SeedMean:
    """Mean of one headline number over the seeds."""
    grade = max((one.number.grade for one in found if one.number.grade), key=GRADES.index, default="")
    notes = [one.number.note or one.scores.reason for one in found if one.number.note or one.scores.reason]
    known = [one.number.value for one in found if one.number.value is not None]
    if len(known) < len(found):
        return SeedMean(mean=None, grade=grade, note=next(iter(notes), "a seed has no number"))
    values = np.array(known if accuracy else [log(value) for value in known])
    mean = float(values.mean())
    interval, reason = _interval(found, values, cells=_averaged(planned), accuracy=accuracy)
    return SeedMean(
        mean=mean if accuracy else exp(mean),
        deviation=float(np.std(known, ddof=1)) if len(known) > 1 else None,
        low=None if interval is None else interval.low,
        high=None if interval is None or isinf(interval.high) else interval.high,
        grade=grade,
        note=next(iter([*notes, reason])),
        **(_consistent(found) if accuracy and _averaged(planned) is None and not reason else {}),
        bound=planned.column.rule == "joint" and any(one.number.low is None for one in found),
    )


def _consistent(found: Sequence[JointAccuracy]) -> dict[str, float]:
    """Share of the samples with a score of 1 under every seed, and its 95 % Wilson interval."""
    always = np.all([one.scores.values == 1.0 for one in found], axis=0)
    count, n = int(always.sum()), len(always)
    interval = wilson(count, n)
    return {"consistent": count / n, "consistent_low": interval.low, "consistent_high": interval.high}


def _interval(
    found: Sequence[JointAccuracy], values: NDArray[np.float64], *, cells: int | None, accuracy: bool
) -> tuple[Interval | None, str]:
    """95 % interval of the mean over seeds and samples, and the reason where there is none.

    Args:
        found: number and per-sample scores of each seed.
        values: (S,) accuracies or log perplexities of the seeds.
        cells: number of cells whose outcomes are averaged; None: a sample has one outcome.
        accuracy: whether the metric is accuracy, else perplexity.
    """
    if len(found) == 1:
        return None, "one seed: the deviation between seeds is unknown"
    scores = [one.scores for one in found]
    columns = [one.values for one in scores if one.values is not None]
    first = scores[0]
    if len(columns) < len(scores):
        return None, "the outcomes of samples are unknown for a seed"
    if any(one.origin != first.origin or len(one.counted) != len(first.counted) for one in scores[1:]):
        return None, "the seeds were not evaluated on the same samples and evaluations"
    counted = first.counted if cells is not None else frozenset(list(first.counted)[:1])
    together = SampleScores(values=np.mean(columns, axis=0), origin=first.origin, counted=counted)
    samples = sample_score_interval(together, cells or 1, accuracy=accuracy, seeds=len(found))
    if samples is None or isinf(samples.high):
        return None, "the interval over the samples is unbounded"
    mean, error = float(values.mean()), float(values.std(ddof=1)) / sqrt(len(values))
    ends = samples if accuracy else Interval(log(samples.low), log(samples.high))
    down, up = (
        crossed_reach(reach, seed_error=error, seeds=len(values)) for reach in (mean - ends.low, ends.high - mean)
    )
    if accuracy:
        return Interval(max(mean - down, 0.0), min(mean + up, 1.0)), ""
    return Interval(max(exp(mean - down), 1.0), exp(mean + up)), ""
