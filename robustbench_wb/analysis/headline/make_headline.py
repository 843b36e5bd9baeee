"""Headline of a table from its rows and records."""

from collections.abc import Iterable, Mapping, Sequence
from math import exp, isinf
from statistics import fmean
from typing import Final

from robustbench_wb.analysis.curves.corruption_errors import corruption_errors
from robustbench_wb.analysis.headline.control_gap import control_gap
from robustbench_wb.analysis.headline.headline import Headline, HeadlineNumber, HeadlinePanel, HeadlineRow
from robustbench_wb.analysis.headline.headline_columns import CLEAN, CONTROLS, PlannedColumn, headline_columns
from robustbench_wb.analysis.headline.joint_accuracy import JointAccuracy, joint_accuracy
from robustbench_wb.analysis.headline.mean_iou_number import mean_iou_number
from robustbench_wb.analysis.paired_ranking import ScoredModel, lead_interval, order_models, rank_models
from robustbench_wb.analysis.row_order import CellKey, cell_key, comparable_panels, rank_key
from robustbench_wb.analysis.sample_scores import sample_score_interval, sample_scores
from robustbench_wb.errors import UsageError
from robustbench_wb.records.record import Record
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.stressors.threat_models import threat_model

IMAGENET_CLASSES: Final = 1000
_OUTPUTS: Final = ("ece", "brier", "auroc")


def records_for_headline(rows: Iterable[ScoreRow]) -> set[str]:
    """Keys of the records that ``make_headline`` needs."""
    return {row.key for row in rows if row.key and row.status != "error"}


def make_headline(rows: Iterable[ScoreRow], records: Mapping[str, Record]) -> Headline:
    """Headline numbers and ranks of the models of each panel.

    Args:
        rows: rows of a table, in any order; of several rows with one slot, the last is used.
        records: records by key, see ``records_for_headline``. Numbers with missing records have no intervals.

    Returns:
        A panel for the models that were measured on the same samples and evaluations, in the order of their first rows.
    """
    return Headline(panels=tuple(headline_panel(members, records) for members in latest_panels(rows)))


def latest_panels(rows: Iterable[ScoreRow]) -> list[list[ScoreRow]]:
    """Rows of the models that are ranked together; of several rows with one slot, the last one.

    Evaluations that a decision has stopped are left out: their accuracy depends on when it was made.
    """
    latest = {(row.panel, row.slot): row for row in rows}.values()
    return comparable_panels(row for row in latest if not row.is_stopped)


def headline_panel(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> HeadlinePanel:
    """Headline numbers and ranks of the models of one panel.

    Args:
        rows: rows of models that were measured on the same cells.
        records: records by key.
    """
    planned, main = headline_columns(rows)
    members: dict[tuple[str, ...], dict[CellKey, ScoreRow]] = {}
    for row in rows:
        members.setdefault(row.subject, {})[cell_key(row)] = row
    numbers: list[tuple[HeadlineNumber, ...]] = []
    scored: list[ScoredModel] = []
    for subject, own in members.items():
        found = [column_number(own, column, records) for column in planned]
        numbers.append(tuple(column.number for column in found))
        scored.append(_scored(subject, [own[cell] for cell in planned[main].cells], found[main]))
    accuracy = rows[0].metric == "accuracy"
    mces = _mean_corruption_errors(rows, records)
    order = order_models(scored)
    ordered = [scored[at] for at in order]
    ranked, tests = rank_models(ordered, accuracy=accuracy)
    lines = []
    for at, place in zip(order, ranked, strict=True):
        first = next(iter(members[scored[at].name].values()))
        lines.append(
            HeadlineRow(
                variant=first.variant,
                size=first.size,
                recipe=first.recipe,
                seed=first.seed,
                rank=place.rank,
                rank_low=place.low,
                rank_high=place.high,
                group=place.group,
                numbers=numbers[at],
                mce=mces.get(scored[at].name),
            )
        )
    return HeadlinePanel(
        **rows[0].panel._asdict(),
        columns=tuple(column.column for column in planned),
        main=main,
        tests=tests,
        lead=lead_interval(ordered, accuracy=accuracy),
        evaluations=len(rows),
        failed=sum(row.status != "ok" for row in rows),
        doubtful=sum(row.grade == "F" and not is_control(row) for row in rows),
        rows=tuple(lines),
    )


def is_control(row: ScoreRow) -> bool:
    """Whether the row is an attack that is too weak to show robustness: random noise, or one gradient step."""
    threat = threat_model(row.signature or row.stressor)
    return threat is not None and threat.kind in CONTROLS


def column_rows(own: Mapping[CellKey, ScoreRow], planned: PlannedColumn) -> list[ScoreRow]:
    """Rows of one model that a headline number combines; a joint one includes unperturbed inputs."""
    clean = [row for row in own.values() if row.stressor == CLEAN and planned.column.rule == "joint"]
    return [*clean, *(own[cell] for cell in planned.cells)]


def column_number(
    own: Mapping[CellKey, ScoreRow], planned: PlannedColumn, records: Mapping[str, Record]
) -> JointAccuracy:
    """Number of one model in one column, with its per-sample scores.

    Args:
        own: rows of the model by cell.
        planned: the column.
        records: records by key.
    """
    rows, rule = column_rows(own, planned), planned.column.rule
    joint = rule == "joint"
    found = joint_accuracy(rows, [own[cell] for cell in planned.attacks], records) if joint else _mean(rows, records)
    update: dict[str, float | None] = {} if joint else {name: _mean_output(rows, name) for name in _OUTPUTS}
    if joint:
        attacks, gap = [own[cell] for cell in planned.attacks], control_gap(rows, records)
        update |= {name: _mean_output(attacks, name) for name in ("text_similarity", "perplexity_ratio")}
        if gap is not None:
            ends = {"control_gap_low": gap.interval.low, "control_gap_high": gap.interval.high}
            update |= {"control_gap": gap.value, **ends}
    miou = mean_iou_number(rows, rule, records)
    if miou is not None:
        update |= {"miou": miou.value, "miou_low": miou.interval.low, "miou_high": miou.interval.high}
    return found._replace(number=found.number.model_copy(update=update))


def _mean_output(rows: Sequence[ScoreRow], name: str) -> float | None:
    """Mean of a column over some rows; None if one of them has no value."""
    values = [getattr(row, name) for row in rows]
    return fmean(values) if values and None not in values else None


def _mean(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> JointAccuracy:
    """Mean accuracy or geometric mean perplexity; a failed cell is an accuracy of 0."""
    scores = sample_scores(rows, len(rows), records)
    accuracy = rows[0].metric == "accuracy"
    if accuracy and len(rows) == 1 and rows[0].status != "error":
        row = rows[0]
        number = HeadlineNumber(
            value=row.accuracy, low=row.low, high=row.high, robust=row.robust, unjudged=row.errored + row.not_run
        )
        return JointAccuracy(number, scores)
    lacking, mean = rank_key(rows, len(rows))
    interval = sample_score_interval(scores, len(rows), accuracy=accuracy)
    failed = [row for row in rows if row.status == "error"]
    whole = len(failed) < len(rows) if accuracy else not lacking
    number = HeadlineNumber(
        value=(-mean + 0.0 if accuracy else exp(mean)) if whole else None,
        low=interval.low if interval is not None and whole else None,
        high=interval.high if interval is not None and whole and not isinf(interval.high) else None,
        failed=len(failed),
        unjudged=sum(row.errored + row.not_run for row in rows if row.status == "incomplete"),
        note=f"{failed[0].cell} failed: {failed[0].error or 'no sample was judged'}" if failed else scores.reason,
    )
    return JointAccuracy(number, scores)


def _mean_corruption_errors(rows: Sequence[ScoreRow], records: Mapping[str, Record]) -> dict[tuple[str, ...], float]:
    """mCE of each model in percent (Hendrycks & Dietterich 2019), for rows of ImageNet-C only."""
    if not any(row.classes == IMAGENET_CLASSES for row in rows):
        return {}
    try:
        found = corruption_errors(rows, records, alexnet=True)
    except UsageError:
        return {}
    return {
        errors.clean.subject: mean for errors in found for one in errors.normalised if (mean := one.mean) is not None
    }


def _scored(subject: tuple[str, ...], rows: Sequence[ScoreRow], found: JointAccuracy) -> ScoredModel:
    """Model by its number in the main column; a number graded F counts as an accuracy of 0."""
    if rows[0].metric == "accuracy":
        value = 0.0 if found.number.grade == "F" else found.number.value or 0.0
        return ScoredModel(name=subject, lacking=0, score=-value, scores=found.scores)
    lacking, mean = rank_key(rows, len(rows))
    return ScoredModel(name=subject, lacking=lacking, score=mean, scores=found.scores)
