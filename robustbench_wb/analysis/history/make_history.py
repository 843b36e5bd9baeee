"""History of headline numbers from the rows of all versions and their records."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.analysis.compare.align import align
from robustbench_wb.analysis.compare.comparison import PairedDifference
from robustbench_wb.analysis.compare.overall import ClusteredOutcomes
from robustbench_wb.analysis.compare.verdicts import (
    DifferenceEstimate,
    DiscordantShares,
    decide_verdict,
    estimate_losses,
    estimate_shares,
)
from robustbench_wb.analysis.headline.headline_columns import headline_columns
from robustbench_wb.analysis.headline.joint_accuracy import JointAccuracy
from robustbench_wb.analysis.headline.make_headline import column_number, column_rows, latest_panels
from robustbench_wb.analysis.history.history_result import (
    HeadlineSeries,
    History,
    HistoryPoint,
    ModelHistory,
    TableVersion,
)
from robustbench_wb.analysis.row_order import CellKey, cell_key
from robustbench_wb.records.names import Metric
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stats.change_points import change_points
from robustbench_wb.stats.paired import mcnemar
from robustbench_wb.stats.resampling import sign_flip_p

Floats = NDArray[np.float64]

ALPHA: Final = 0.05


@dataclass(frozen=True, eq=False, kw_only=True)
class _Measured:
    """Headline number of one version, and what it is made of."""

    version: TableVersion
    rows: tuple[ScoreRow, ...]
    found: JointAccuracy
    first: bool
    main: bool

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(row.key for row in self.rows)


def make_history(
    versions: Sequence[tuple[TableVersion, Sequence[ScoreRow]]],
    records: Mapping[str, Record],
    *,
    location: str = "",
    margin: float = 0.01,
    alpha: float = ALPHA,
) -> History:
    """Headline numbers of every model over the versions of a table.

    A version is a point of a series if it has other records of the model than the version before. Its verdict is that
    of ``robustbench_wb.analysis.compare.verdicts.decide_verdict`` on the paired samples of both points, not corrected
    for the number of versions, so that a later version does not change it. Change points are those of
    ``robustbench_wb.stats.change_points``, which corrects for the number of versions; they are searched within runs of
    comparable points.

    Args:
        versions: versions with their rows, oldest first.
        records: records by key.
        location: location of the results, which the result names.
        margin: equivalence margin, a share; relative for a perplexity.
        alpha: level of each verdict and of the test of change points.
    """
    found: dict[ModelHistory, dict[str, list[_Measured]]] = {}
    known: dict[tuple[str, tuple[str, ...]], JointAccuracy] = {}
    for version, rows in versions:
        for model, own in _models(rows):
            planned, main = headline_columns(list(own.values()))
            for at, column in enumerate(planned):
                used = tuple(column_rows(own, column))
                key = (column.column.name, tuple(row.key for row in used))
                if key not in known or not all(key[1]):
                    known[key] = column_number(own, column, records)
                measured = _Measured(
                    version=version, rows=used, found=known[key], first=column.column.first, main=at == main
                )
                _add(found.setdefault(model, {}).setdefault(column.column.name, []), measured)
    return History(
        location=location,
        versions=tuple(version for version, _ in versions),
        margin=margin,
        alpha=alpha,
        models=tuple(_history(model, series, margin=margin, alpha=alpha) for model, series in found.items()),
    )


def _models(rows: Iterable[ScoreRow]) -> list[tuple[ModelHistory, dict[CellKey, ScoreRow]]]:
    """Rows of each model of one version, by cell. The model is a history without points, whose names stay the same."""
    found: dict[ModelHistory, dict[CellKey, ScoreRow]] = {}
    for row in (row for panel in latest_panels(rows) for row in panel):
        key = ModelHistory(
            task=row.task,
            scale=row.scale,
            suite=row.suite,
            metric=row.metric,
            variant=row.variant,
            size=row.size,
            recipe=row.recipe,
            seed=row.seed,
        )
        found.setdefault(key, {})[cell_key(row)] = row
    return list(found.items())


def _add(series: list[_Measured], measured: _Measured) -> None:
    """Append a point if its records are new. An unchanged one only says which columns are shown now."""
    if series and series[-1].keys == measured.keys:
        series[-1] = replace(series[-1], first=measured.first, main=measured.main)
    else:
        series.append(measured)


def _history(
    model: ModelHistory, found: Mapping[str, Sequence[_Measured]], *, margin: float, alpha: float
) -> ModelHistory:
    shown = {name: points for name, points in found.items() if points[-1].first or points[-1].main}
    series = tuple(
        HeadlineSeries(
            column=name, main=points[-1].main, points=_points(points, model.metric, margin=margin, alpha=alpha)
        )
        for name, points in shown.items()
    )
    return model.model_copy(update={"series": series})


def _points(measured: Sequence[_Measured], metric: Metric, *, margin: float, alpha: float) -> tuple[HistoryPoint, ...]:
    changes: list[PairedDifference | None] = [None]
    for before, after in pairwise(measured):
        changes.append(_change(before, after, metric, margin=margin, alpha=alpha))
    begins: dict[int, float] = {}
    for run in _runs(changes):
        columns = [values for at in run if (values := measured[at].found.scores.values) is not None]
        begins |= {run[place]: p for place, p in change_points(np.stack(columns, axis=1), alpha)} if columns else {}
    return tuple(
        HistoryPoint(version=one.version, number=one.found.number, change=change, change_p=begins.get(at))
        for at, (one, change) in enumerate(zip(measured, changes, strict=True))
    )


def _runs(changes: Sequence[PairedDifference | None]) -> list[list[int]]:
    """Positions of successive points whose samples were compared, for runs of several points."""
    runs: list[list[int]] = [[0]]
    for at, change in enumerate(changes[1:], 1):
        if change is not None and change.p is not None:
            runs[-1].append(at)
        else:
            runs.append([at])
    return [run for run in runs if len(run) > 1]


def _change(before: _Measured, after: _Measured, metric: Metric, *, margin: float, alpha: float) -> PairedDifference:
    """Verdict on two successive points."""
    alignment = align(before.rows, after.rows)
    differing = {item.field: item for match in alignment.matches for item in match.differing}
    if differing:
        reason = "; ".join(f"{name} differs" for name in differing)
        return PairedDifference(verdict="not comparable", reason=reason, metric=metric)
    if alignment.added or alignment.removed:
        return PairedDifference(verdict="not comparable", reason="other evaluations", metric=metric)
    failed = next((row for row in (*before.rows, *after.rows) if row.status != "ok"), None)
    old, new = before.found.scores, after.found.scores
    if failed is not None or old.values is None or new.values is None or len(old.values) != len(new.values):
        reason = f"{failed.cell} has samples without an outcome" if failed is not None else new.reason or old.reason
        return PairedDifference(verdict="incomplete", reason=reason, metric=metric)
    estimate = _estimate(new.values - old.values, metric, cells=len(after.rows), alpha=alpha)
    found = estimate.added_to(PairedDifference(verdict="undecided", metric=metric))
    return found.model_copy(update={"verdict": decide_verdict(found, estimate.p, margin=margin, alpha=alpha)})


def _estimate(differences: Floats, metric: Metric, *, cells: int, alpha: float) -> DifferenceEstimate:
    """Estimate of the mean of paired differences: exact McNemar for outcomes of 0 and 1, else a sign-flip test."""
    if metric == "perplexity":
        return estimate_losses([differences], alpha)[0]
    outcomes = ClusteredOutcomes.of_differences(differences, cells)
    trials = outcomes.effective
    counts = [int(np.count_nonzero(differences == side)) for side in (-1, 1)]
    whole = sum(counts) == np.count_nonzero(differences)
    shares = DiscordantShares(
        n=np.array([trials]),
        lost=np.array([trials * outcomes.lost]),
        gained=np.array([trials * outcomes.gained]),
        p=mcnemar([counts[0]], [counts[1]]) if whole else np.array(sign_flip_p([differences])),
    )
    return estimate_shares(shares, shares, alpha)[0]
