"""Gate result as text: passed or failed, and every cell and model that did not pass."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final, NamedTuple

from robustbench_wb.analysis.compare.comparison import CellDifference, OverallDifference
from robustbench_wb.analysis.gate.gate_result import GateDecision, GateResult
from robustbench_wb.errors import ExitCode
from robustbench_wb.records.names import label, subject_label, variant_name
from robustbench_wb.report.comparison import difference_text, identical_text, p_text
from robustbench_wb.report.scores import short_text
from robustbench_wb.report.text_block import Column, TextBlock, counted, fit_width, wrapped

_COLUMNS: Final = (
    Column("model"),
    Column("cell"),
    Column("outcome"),
    Column("samples", "right"),
    Column("old -> new", "right"),
    Column("difference", "right"),
    Column("margin", "right"),
    Column("one-sided p", "right"),
    Column("MDE", "right"),
)
_DISPENSABLE: Final = ("old -> new", "one-sided p", "margin")
_STYLES: Final = {
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
    ExitCode.CREDIBILITY: "a number is not credible",
    ExitCode.NOT_COMPARABLE: "a cell is not comparable",
    ExitCode.INCOMPLETE: "cells failed or are missing",
}
SHOWN: Final = 15
"""Largest number of decisions on the first screen."""
UNDECIDED: Final = 4
"""Largest number of undecided decisions on the first screen of a gate that is not closed."""
_UNDECIDED: Final = "undecided: the interval excludes neither no drop nor one as large as the margin"
_NONE_LEFT: Final = "undecided: all samples were looked at, and no stop was allowed; more samples decide"
_MDE: Final = "MDE: minimum detectable effect (drop) at 80 % power; more samples make it smaller"
_SCOPES: Final = {"population": "the population of the samples", "samples": "these samples"}
_IDS: Final = 20
"""Displayed ids of lost, and of gained, samples of a regressed cell; JSON and JUnit have all ids."""


class DecisionNames(NamedTuple):
    """Names under which a gate decision is shown."""

    model: str
    """Task, scale, suite and model."""
    cell: str
    """Cell, or the number of cells of a mean."""
    margin: str
    """Accepted drop in points or percent, with the noise floor if there is one."""


def gate_blocks(gate: GateResult, width: int | None = None, *, of_run: bool = False) -> list[TextBlock]:
    """Headline with counts, all decisions that did not pass or are sequential, by side of the baseline, and the legend.

    Args:
        gate: result of the gate.
        width: terminal columns to fit by dropping less important columns; None keeps all.
        of_run: whether a run shows it, whose own exit code is another one.
    """
    notes = (*_same(gate), *gate.notes, *_counts(gate), *_looks(gate))
    blocks = [TextBlock(gate_headline(gate, of_run=of_run), notes=notes)]
    for against in dict.fromkeys(decision.against for decision in gate.judgements):
        told = [item for item in gate.judgements if item.outcome != "passed" or item.used is not None]
        members = [item for item in told if item.against == against]
        if members:
            blocks.append(_panel(f"against the {against}", members, width))
    return [*blocks, TextBlock(notes=tuple(_legend(gate)))]


def gate_screen(gate: GateResult, width: int | None = None, *, of_run: bool = False) -> list[TextBlock]:
    """Headline with counts, then the decisions that close the gate, and what they mean.

    Args:
        gate: result of the gate.
        width: terminal columns to fit by dropping less important columns; None keeps all.
        of_run: whether a run shows it, whose own exit code is another one.
    """
    notes = (*_same(gate), *gate.notes, *wrapped([] if _same(gate) else [*_counts(gate), *_looks(gate), *_new(gate)]))
    failing = [item for item in gate.judgements if gate.failing(item)]
    left = len(failing) - SHOWN
    more = [f"{counted(left, 'more failing decision')}: --full"] if left > 0 else []
    undecided = [item for item in gate.judgements if item.outcome == "undecided" and not gate.failing(item)]
    if undecided:
        hint = ": --full" if len(undecided) > UNDECIDED or failing else ""
        more.append(f"{len(undecided)} undecided, which do not close the gate (--strict: they do){hint}")
    blocks = [TextBlock(gate_headline(gate, of_run=of_run), notes=notes)]
    for against in dict.fromkeys(decision.against for decision in failing):
        members = [item for item in failing[:SHOWN] if item.against == against]
        if members:
            blocks.append(_decisions(f"against the {against}", members, width=width))
    if undecided and not failing:
        blocks.append(_decisions("undecided", undecided[:UNDECIDED], width=width, smallest=True))
        more += [_UNDECIDED, _MDE] if gate.sequential is None else [_NONE_LEFT]
    legend = _test_legend(gate) if failing else []
    return [*blocks, *([TextBlock(notes=wrapped([*more, *legend]))] if more or legend else [])]


def _decisions(title: str, members: Sequence[GateDecision], *, width: int | None, smallest: bool = False) -> TextBlock:
    """Table of decisions with short names of the models; ``smallest`` keeps the minimum detectable effect."""
    sequential = any(item.used is not None for item in members)
    end = None if smallest and not sequential else -1
    sources = [item.row or item.found for item in members]
    named = [source.new if isinstance(source, CellDifference) else source for source in sources]
    tasks = {one.task for one in named if one is not None}
    if len(tasks) == 1:
        title = f"{title}, on {next(iter(tasks))}"
    models = [
        "" if one is None else variant_name(one) if len(tasks) == 1 else f"{one.task} {variant_name(one)}"
        for one in named
    ]
    rows = [(model, *_row(item)[1:end]) for model, item in zip(models, members, strict=True)]
    notes = tuple(_reasons(members))
    block = TextBlock(title, columns=_COLUMNS[:end], rows=tuple(rows), notes=notes, styles=_STYLES)
    return fit_width(_with_samples(block, sequential), width, ("margin", *_DISPENSABLE))


def _with_samples(block: TextBlock, sequential: bool) -> TextBlock:
    """Table without the numbers of used samples unless decisions are sequential."""
    return block if sequential else fit_width(block, 0, ("samples",))


def _same(gate: GateResult) -> list[str]:
    """Note that both tables have the same records; empty if they have not."""
    return [] if gate.identical is None else [identical_text(gate.identical)]


def gate_headline(gate: GateResult, *, of_run: bool = False) -> str:
    """Outcome of the gate, like ``main.parquet -> v3: failed, a drop beyond the margin (exit code 1)``.

    ``of_run``: a run shows it, whose own exit code is another one.
    """
    sides = f"{gate.baseline} -> {gate.version}: "
    if not gate.judgements:
        return f"{sides}nothing was compared; the baseline has none of these evaluations"
    if gate.exit_code == ExitCode.OK:
        undecided = sum(item.outcome == "undecided" for item in gate.judgements)
        if undecided:
            return (
                f"{sides}no significant drop, but {undecided} of {counted(len(gate.judgements), 'decision')} undecided"
            )
        return f"{sides}passed"
    why = _WHY[gate.exit_code]
    if gate.exit_code == ExitCode.REGRESSION and not any(item.outcome == "regressed" for item in gate.judgements):
        why = "a drop beyond the margin is not excluded"
    return f"{sides}failed, {why} (exit code {int(gate.exit_code)}{' of `gate`' if of_run else ''})"


def decision_names(decision: GateDecision) -> DecisionNames:
    """Model, cell and margin of a decision, as tables show them."""
    if isinstance(decision.found, OverallDifference):
        overall = decision.found
        seeds = ",".join(map(str, overall.seeds))
        model = f"{overall.task} {overall.scale} {overall.suite}: {variant_name(overall)} {overall.recipe} seed {seeds}"
        return DecisionNames(model=model, cell=f"mean of {counted(overall.cells, 'cell')}", margin=_margin(decision))
    row = decision.row
    if row is None:
        return DecisionNames(model="", cell="", margin="")
    return DecisionNames(model=subject_label(row), cell=row.cell, margin=_margin(decision))


def case_name(decision: GateDecision) -> str:
    """Name of the test case of a decision within its model, such as ``pgd-linf@8/255, credibility``."""
    cell = decision_names(decision).cell
    return f"{cell}, credibility" if decision.outcome == "doubtful" else cell


def decision_text(decision: GateDecision) -> str:
    """One line with the names, outcome, reason and numbers of a decision."""
    model, cell, margin = decision_names(decision)
    parts = [decision.reason] if decision.reason else []
    numbers = difference_text(decision.found) if decision.found is not None else ""
    if numbers:
        parts.append(f"difference {numbers}, margin {margin}")
    if decision.used is not None:
        parts.append(f"stopped after {decision.used:,} of {_samples(decision):,} samples: {decision.stopped}")
    if decision.smallest is not None:
        parts.append(f"minimum detectable effect {_percent(decision, decision.smallest)}")
    return f"{model}, {cell}: {decision.outcome} against the {decision.against}: {'; '.join(parts)}"


def changed_ids(pair: CellDifference, limit: int | None = None) -> str:
    """Ids of the lost and gained samples, at most ``limit`` of each; None lists all."""
    sides = (("lost", pair.lost_ids), ("gained", pair.gained_ids))
    return "; ".join(f"{what} {_listed(ids, limit)}" for what, ids in sides if ids)


def _listed(ids: Sequence[int], limit: int | None) -> str:
    more = f" and {len(ids) - limit} more" if limit is not None and len(ids) > limit else ""
    return ", ".join(map(str, ids[:limit])) + more


def _counts(gate: GateResult) -> Iterable[str]:
    for what, wanted in (("models", True), ("cells", False)):
        for against in ("baseline", "pinned ancestor"):
            members = [item for item in gate.judgements if item.against == against and (item.row is None) == wanted]
            counts = Counter[str](item.outcome for item in members)
            if counts:
                told = ", ".join(f"{counts[name]} {name}" for name in reversed(_STYLES) if counts[name])
                yield f"{what} against the {against}: {told}"


def _new(gate: GateResult) -> list[str]:
    """Number of cells that no decision is about, as the baseline lacks them; empty if there are none."""
    if not gate.added:
        return []
    verb = "is" if len(gate.added) == 1 else "are"
    return [f"{counted(len(gate.added), 'cell')} of the version {verb} not in the baseline, and not tested: --full"]


def _looks(gate: GateResult) -> list[str]:
    """Numbers of samples that sequential decisions on cells took; empty if all samples were looked at once."""
    if gate.sequential is None:
        return []
    looked = [item for item in gate.judgements if item.used is not None and item.row is not None]
    if not looked:
        return ["one sample after the other: no cell was measured anew and compared"]
    used, total = sum(item.used or 0 for item in looked), sum(map(_samples, looked))
    decided = sum(item.outcome in ("passed", "regressed") for item in looked)
    middle = f", median {median(item.used or 0 for item in looked):g}"
    rows = [item.row for item in looked if item.row is not None]
    if any(row.is_stopped for row in rows):
        middle += f" ({sum(row.n for row in rows):,} were measured)"
    return [
        f"one sample after the other (order of seed {gate.sequential.seed}): {decided} of "
        f"{counted(len(looked), 'changed cell')} decided with {used:,} of {counted(total, 'sample')}{middle}; "
        f"about {_SCOPES[gate.sequential.scope]}"
    ]


def _panel(title: str, members: Sequence[GateDecision], width: int | None) -> TextBlock:
    block = TextBlock(
        title,
        columns=_COLUMNS,
        rows=tuple(map(_row, members)),
        notes=(*_reasons(members), *_ids(members)),
        styles=_STYLES,
    )
    return fit_width(_with_samples(block, any(item.used is not None for item in members)), width, _DISPENSABLE)


def _row(item: GateDecision) -> tuple[str, ...]:
    pair = item.found if isinstance(item.found, CellDifference) else None
    smallest = "" if item.smallest is None else _percent(item, item.smallest)
    scores = f"{short_text(pair.old)} -> {short_text(pair.new)}" if pair is not None else ""
    difference = difference_text(item.found) if item.found is not None else ""
    model, cell, margin = decision_names(item)
    used = "" if item.used is None else f"{item.used:,} of {_samples(item):,}"
    return model, cell, item.outcome, used, scores, difference, margin, p_text(item.adjusted_p), smallest


def _samples(item: GateDecision) -> int:
    """Number of paired samples of a decision; of a cell that was stopped, the number that was planned."""
    found = item.found
    if item.row is not None and item.row.is_stopped:
        return item.row.planned
    return found.samples if isinstance(found, OverallDifference) else (found.n or 0) if found is not None else 0


def _reasons(members: Sequence[GateDecision]) -> list[str]:
    """Reasons that do not follow from the numbers, one line per reason, with its cells."""
    reasons: dict[str, list[str]] = {}
    for item in members:
        if item.outcome not in ("regressed", "undecided", "passed"):
            reasons.setdefault(f"{item.outcome} ({item.reason})", []).append(decision_names(item).cell)
    return [f"{reason}: {', '.join(dict.fromkeys(cells))}" for reason, cells in reasons.items()]


def _ids(members: Sequence[GateDecision]) -> list[str]:
    regressed = [
        item.found for item in members if item.outcome == "regressed" and isinstance(item.found, CellDifference)
    ]
    return [f"{label(pair.new)}: {changed_ids(pair, _IDS)}" for pair in regressed]


def _margin(item: GateDecision) -> str:
    return _percent(item, item.margin) + (f" + {_percent(item, item.floor)}" if item.floor else "")


def _percent(item: GateDecision, value: float) -> str:
    """Value in points of accuracy, or in percent of perplexity."""
    source = item.found or item.row
    return f"{100 * value:.1f}" + ("%" if source is not None and source.metric == "perplexity" else "")


def _test_legend(gate: GateResult) -> list[str]:
    if gate.sequential is not None:
        return [
            f"one-sided p: Holm-adjusted, holds at whatever sample one stops; regressed: at most {gate.alpha:g}",
            "difference: new - old of all samples [two-sided 95 % interval]" + _of_stopped(gate),
        ]
    return [
        f"regressed: drop significantly larger than the margin, one-sided Holm-adjusted p at most {gate.alpha:g}",
        "difference: new - old [two-sided 95 % interval]",
    ]


def _of_stopped(gate: GateResult) -> str:
    """What the interval of a stopped cell is; empty if there is none."""
    stopped = any(item.row is not None and item.row.is_stopped for item in gate.judgements)
    return "; of a stopped cell, of the measured samples, as if their number had been fixed" if stopped else ""


def _legend(gate: GateResult) -> Iterable[str]:
    if gate.added:
        cells = ", ".join(f"{subject_label(row)} {row.cell}" for row in gate.added)
        yield f"not in the baseline and not tested: {cells}"
    if gate.noise:
        noisy = sum(item.floor > 0 and item.row is not None for item in gate.judgements)
        cells = counted(noisy, "cell")
        yield f"noise floors from {gate.noise} for {cells}; a regression must exceed margin plus noise floor"
    confidence = f"{100 * (1 - 2 * gate.alpha):g} %"
    yield from _test_legend(gate)
    if gate.sequential is None:
        yield f"passed: the {confidence} interval excludes a drop as large as the margin; undecided: neither"
        yield "MDE: minimum detectable effect (drop) at 80 % power"
    else:
        yield f"passed: a drop as large as the margin is excluded at {gate.alpha:g}, likewise; undecided: neither"
    yield "margins are in points of accuracy or percent of perplexity"
