"""A gate as text: open or closed, and everything that did not pass."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from robustbench_wb.analysis.compare.comparison import CellDifference, OverallDifference
from robustbench_wb.analysis.gate.gate_result import GateDecision, GateResult
from robustbench_wb.errors import ExitCode
from robustbench_wb.records.names import label, subject_label, variant_name
from robustbench_wb.report.comparison import difference_text, p_text
from robustbench_wb.report.scores import short_text
from robustbench_wb.report.text_block import Column, TextBlock, fit_width

_COLUMNS: Final = (
    Column("subject"),
    Column("cell"),
    Column("outcome"),
    Column("old -> new", "right"),
    Column("difference", "right"),
    Column("margin", "right"),
    Column("p", "right"),
    Column("would see", "right"),
)
_DISPENSABLE: Final = ("old -> new", "p", "margin")
STYLES: Final = {
    "regressed": "bold red",
    "doubtful": "red",
    "not comparable": "red",
    "incomplete": "red",
    "missing": "red",
    "undecided": "yellow",
    "passed": "green",
}
_WHY: Final = {
    ExitCode.REGRESSION: "a drop beyond the margin",
    ExitCode.CREDIBILITY: "a number that may not be believed",
    ExitCode.NOT_COMPARABLE: "something else was measured",
    ExitCode.INCOMPLETE: "cells that failed or are missing",
}
_IDS: Final = 20
"""Of each kind, so many samples of a regressed cell are named; JSON and JUnit name all."""


def gate_blocks(gate: GateResult, width: int | None = None) -> list[TextBlock]:
    """The verdict; then, against the baseline and against its pinned ancestor, all that did not pass; then the rules.

    Args:
        gate: what was judged.
        width: columns to stay within, by leaving out the less important ones; None keeps all.
    """
    blocks = [TextBlock(gate_headline(gate), (), (), tuple(_counts(gate)))]
    for against in dict.fromkeys(judgement.against for judgement in gate.judgements):
        members = [item for item in gate.judgements if item.against == against and item.outcome != "passed"]
        if members:
            blocks.append(_panel(f"against the {against}", members, width))
    return [*blocks, TextBlock("", (), (), tuple(_legend(gate)))]


def gate_headline(gate: GateResult) -> str:
    """``main.parquet -> v3: failed, a drop beyond the margin (exit code 1)``."""
    sides = f"{gate.baseline} -> {gate.version}: "
    if gate.exit_code == ExitCode.OK:
        return f"{sides}passed"
    why = _WHY[gate.exit_code]
    if gate.exit_code == ExitCode.REGRESSION and not any(item.outcome == "regressed" for item in gate.judgements):
        why = "a drop beyond the margin is not excluded"
    return f"{sides}failed, {why} (exit code {int(gate.exit_code)})"


def decision_names(judgement: GateDecision) -> tuple[str, str, str]:
    """Task with scale, suite and subject; the cell; and the points or percents at stake."""
    if isinstance(judgement.found, OverallDifference):
        claim = judgement.found
        seeds = ",".join(map(str, claim.seeds))
        where = f"{claim.task} {claim.scale} {claim.suite}: {variant_name(claim)} {claim.recipe} seed {seeds}"
        return where, f"mean of {claim.cells} cells", _margin(judgement)
    row = judgement.row
    if row is None:
        return "", "", ""
    return subject_label(row), row.cell, _margin(judgement)


def decision_text(judgement: GateDecision) -> str:
    """Everything on one judgement in a line."""
    subject, cell, margin = decision_names(judgement)
    parts = [judgement.reason] if judgement.reason else []
    numbers = difference_text(judgement.found) if judgement.found is not None else ""
    if numbers:
        parts.append(f"difference {numbers}, margin {margin}")
    if judgement.smallest is not None:
        parts.append(f"a drop of {_percent(judgement, judgement.smallest)} would have been seen")
    return f"{subject}, {cell}: {judgement.outcome} against the {judgement.against}: {'; '.join(parts)}"


def changed_ids(pair: CellDifference, limit: int | None = None) -> str:
    """The samples that were lost and gained, by id: at most ``limit`` of each; None names all."""
    sides = (("lost", pair.lost_ids), ("gained", pair.gained_ids))
    return "; ".join(f"{what} {_listed(ids, limit)}" for what, ids in sides if ids)


def _listed(ids: Sequence[int], limit: int | None) -> str:
    more = f" and {len(ids) - limit} more" if limit is not None and len(ids) > limit else ""
    return ", ".join(map(str, ids[:limit])) + more


def _counts(gate: GateResult) -> Iterable[str]:
    for what, wanted in (("subjects", True), ("cells", False)):
        for against in ("baseline", "pinned ancestor"):
            members = [item for item in gate.judgements if item.against == against and (item.row is None) == wanted]
            counts = Counter[str](item.outcome for item in members)
            if counts:
                told = ", ".join(f"{counts[name]} {name}" for name in reversed(STYLES) if counts[name])
                yield f"{what} against the {against}: {told}"


def _panel(title: str, members: Sequence[GateDecision], width: int | None) -> TextBlock:
    block = TextBlock(title, _COLUMNS, tuple(map(_row, members)), (*_reasons(members), *_ids(members)), STYLES)
    return fit_width(block, width, _DISPENSABLE)


def _row(item: GateDecision) -> tuple[str, ...]:
    pair = item.found if isinstance(item.found, CellDifference) else None
    smallest = "" if item.smallest is None else _percent(item, item.smallest)
    beside = f"{short_text(pair.old)} -> {short_text(pair.new)}" if pair is not None else ""
    difference = difference_text(item.found) if item.found is not None else ""
    subject, cell, margin = decision_names(item)
    return subject, cell, item.outcome, beside, difference, margin, p_text(item.adjusted_p), smallest


def _reasons(members: Sequence[GateDecision]) -> list[str]:
    """One line per reason that the numbers do not tell, with its cells."""
    reasons: dict[str, list[str]] = {}
    for item in members:
        if item.outcome not in ("regressed", "undecided"):
            reasons.setdefault(f"{item.outcome} ({item.reason})", []).append(decision_names(item)[1])
    return [f"{reason}: {', '.join(dict.fromkeys(cells))}" for reason, cells in reasons.items()]


def _ids(members: Sequence[GateDecision]) -> list[str]:
    regressed = [
        item.found for item in members if item.outcome == "regressed" and isinstance(item.found, CellDifference)
    ]
    return [f"{label(pair.new)}: {changed_ids(pair, _IDS)}" for pair in regressed]


def _margin(item: GateDecision) -> str:
    return _percent(item, item.margin) + (f" + {_percent(item, item.floor)}" if item.floor else "")


def _percent(item: GateDecision, value: float) -> str:
    """Points of accuracy, percent of perplexity."""
    about_it = item.found or item.row
    return f"{100 * value:.1f}" + ("%" if about_it is not None and about_it.metric == "perplexity" else "")


def _legend(gate: GateResult) -> Iterable[str]:
    if gate.added:
        cells = ", ".join(f"{subject_label(row)} {row.cell}" for row in gate.added)
        yield f"not in the baseline, not judged: {cells}"
    if gate.noise:
        noisy = sum(item.floor > 0 and item.row is not None for item in gate.judgements)
        yield f"noise, added to the margin where a regression is looked for: {gate.noise}, {noisy} cells with a floor"
    alpha = f"{gate.alpha:g}"
    confidence = f"{100 * (1 - 2 * gate.alpha):g} %"
    yield f"regressed: certainly a larger drop than the margin, one-sided p at most {alpha}, by Holm within a family"
    yield f"passed: no drop as large as the margin lies in the {confidence} interval; undecided: neither"
    yield "would see: the smallest drop found with 80 % power; margins are in points of accuracy, percent of perplexity"
