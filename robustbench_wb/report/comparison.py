"""Comparison of two tables as text: a verdict on each model, then tables of its cells."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import expm1
from typing import Final, Literal

from robustbench_wb.analysis.compare.align import FieldDifference
from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison, OverallDifference, PairedDifference
from robustbench_wb.records.names import Metric, is_date, variant_name
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.forecast import seeds_text
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.output_changes import changed_outputs
from robustbench_wb.report.scores import short_text
from robustbench_wb.report.text_block import Column, TextBlock, counted, fit_width
from robustbench_wb.stats.multiplicity import Correction

_COLUMNS: Final = (
    Column("cell"),
    Column("verdict"),
    Column("old -> new", "right"),
    Column("difference", "right"),
    Column("lost", "right"),
    Column("gained", "right"),
    Column("p", "right"),
    Column("MDE", "right"),
)
_DISPENSABLE: Final = ("old -> new", "p", "MDE")
"""Columns that a table may drop to fit the width, in this order."""

_NOT_FOR_PERPLEXITY: Final = ("lost", "gained")

VERDICT_STYLES: Final = {
    "worse": "bold red",
    "better": "green",
    "equivalent": "",
    "undecided": "yellow",
    "incomplete": "red",
    "not comparable": "red",
}
CORRECTED: Final[dict[Correction, str]] = {"holm": "Holm", "bh": "Benjamini-Hochberg"}
_UNCHANGED: Final = "unchanged"
"""Word for a model whose common records are the same."""
_DIGEST_LENGTH: Final = 64
_NAMED: Final = 5
"""Largest number of models that a note names."""
_LARGEST: Final = 700.0
"""Largest logarithm of a ratio that is printed as it is; larger ones are clipped, because exp(710) overflows."""


def comparison_blocks(comparison: Comparison, width: int | None = None, ids: bool = False) -> list[TextBlock]:
    """Headline with a sentence per model, a table per task, scale, suite and model, and a summary with the legend.

    Accuracies are in percent and their differences in percentage points. Differences of perplexities are in percent of
    the old perplexity.

    Args:
        comparison: the comparison to show.
        width: terminal columns to fit by dropping less important columns; None keeps all.
        ids: whether to list the ids of lost and gained samples.
    """
    labels = model_labels(pair.new for pair in comparison.pairs)
    panels: dict[str, list[CellDifference]] = {}
    for pair in comparison.pairs:
        what = f"suite {pair.new.suite}" + (", perplexity" if pair.metric == "perplexity" else "")
        what += f", protocol {pair.new.protocol}" if pair.new.protocol != "sound" else ""
        title = f"{pair.new.task}, {pair.new.scale} scale, {what}: {labels[pair.new.subject]}"
        panels.setdefault(title, []).append(pair)
    name = comparison.sample_name if ids else None
    blocks = [_panel(title, pairs, width=width, name=name) for title, pairs in panels.items()]
    return [_headline(comparison), *blocks, *changed_outputs(comparison.pairs), _summary(comparison)]


def _headline(comparison: Comparison) -> TextBlock:
    """Title with the verdicts on the models, and a sentence on each overall difference."""
    notes = (*pairing_notes(comparison), *comparison.notes, *map(_sentence, comparison.claims))
    return TextBlock(comparison_title(comparison), notes=notes)


def distinct_models(comparison: Comparison) -> list[OverallDifference]:
    """Overall difference of each model: that of its architecture, or of its only checkpoint."""
    models = {_group(one): one for one in reversed(comparison.claims)}  # architectures come first and are kept
    return list(reversed(models.values()))


def pairing_notes(comparison: Comparison) -> list[str]:
    """What verdicts do not tell: that all common records are the same, and models that have other seeds."""
    if comparison.is_unchanged:
        return [identical_text(len(comparison.pairs))]
    common = f"the same in both tables: {counted(len(comparison.pairs), 'record')}"
    return [*([common] if comparison.is_unmeasured else []), *_seed_notes(comparison)]


def _seed_notes(comparison: Comparison) -> list[str]:
    """Models that have other seeds in the old table than in the new one, one line for each pair of sets of seeds."""
    old_rows = [*(pair.old for pair in comparison.pairs), *comparison.removed]
    new_rows = [*(pair.new for pair in comparison.pairs), *comparison.added]
    old, new = _seeds(old_rows), _seeds(new_rows)
    changes: dict[tuple[str, str], list[str]] = {}
    for model, seeds in new.items():
        before = old.get(model, set())
        if before and before != seeds:
            changes.setdefault((seeds_text(before), seeds_text(seeds)), []).append(model[0])
    return [
        f"seeds {was} in the old table and {now} in the new one, and only equal seeds are compared: {_named(models)}"
        for (was, now), models in changes.items()
    ]


def _seeds(rows: Iterable[ScoreRow]) -> dict[tuple[str, ...], set[int]]:
    """Seeds of each model, by its name and what else identifies it."""
    found: dict[tuple[str, ...], set[int]] = {}
    for row in rows:
        model = (variant_name(row), row.recipe, row.task, row.suite, row.scale)
        found.setdefault(model, set()).add(row.seed)
    return found


def _named(models: Sequence[str]) -> str:
    names = list(dict.fromkeys(models))
    return ", ".join(names) if len(names) <= _NAMED else counted(len(names), "model")


def identical_text(count: int) -> str:
    """Sentence on two tables whose ``count`` records are all the same."""
    return f"no change: {count} of {counted(count, 'record')} identical"


def comparison_title(comparison: Comparison) -> str:
    """Names of the tables, and the verdicts on the models of which a cell was measured anew; others are unchanged."""
    sides = f"{comparison.old} -> {comparison.new}: " if comparison.old else ""
    models = distinct_models(comparison)
    if not models:
        return f"{sides}nothing to compare, no cell is in both tables"
    if comparison.is_unmeasured:
        return f"{sides}nothing was compared, no common cell was measured anew"
    anew = [pair.new for pair in comparison.pairs if not pair.is_same_record or pair.differing]
    counts = Counter(one.verdict if any(map(one.covers, anew)) else _UNCHANGED for one in models)
    names = [
        f"{counts[name]} {name}" if len(models) > 1 else name for name in (*VERDICT_STYLES, _UNCHANGED) if counts[name]
    ]
    of = f", of {counted(len(models), 'model')}" if len(models) > 1 else ""
    return f"{sides}{', '.join(names)}{of}"


def _group(overall: OverallDifference) -> tuple[str, ...]:
    """Names of the compared model without its seeds."""
    return (overall.task, overall.suite, overall.scale, overall.variant, overall.size, overall.recipe)


def _sentence(overall: OverallDifference) -> str:
    where = f"{variant_name(overall)} ({overall.recipe}), {overall.task}, suite {overall.suite}, {overall.scale} scale"
    cells = f"{overall.cells} of {overall.cells + overall.left_out}" if overall.left_out else str(overall.cells)
    over = f"over {cells} cell{'' if cells == '1' else 's'}"
    over += f", {counted(overall.samples, 'sample')}" if overall.samples else ""
    numbers = [] if overall.worst is None else [_with_unit(overall), f"two-sided p {p_text(overall.p)}", over]
    if overall.detectable_drop is not None:
        numbers.append(f"minimum detectable effect {detectable_text(overall)}")
    numbers += [overall.reason] if overall.reason else []
    return f"{overall.verdict}: {where}: {', '.join(numbers)}; {unit_text(overall.unit, overall.seeds)}"


def unit_text(unit: Literal["checkpoint", "architecture"], seeds: Sequence[int]) -> str:
    """What a result is about, like ``this checkpoint (seed 0)`` or ``this architecture, 2 seeds (0, 1)``."""
    names = ", ".join(map(str, seeds))
    return (
        f"this architecture, {counted(len(seeds), 'seed')} ({names})"
        if unit == "architecture"
        else f"this checkpoint (seed {names})"
    )


def detectable_text(found: PairedDifference) -> str:
    """Minimum detectable effect with its unit, like ``12.6 points``; empty if it is unknown."""
    if found.detectable_drop is None:
        return ""
    text = change_text(found.detectable_drop, found.metric).removeprefix("+")
    return f"{text} points" if found.metric == "accuracy" else text


def _with_unit(found: PairedDifference) -> str:
    return difference_text(found) + (" points" if found.metric == "accuracy" else "")


def _panel(
    title: str, pairs: Sequence[CellDifference], *, width: int | None, name: Callable[[int], str] | None
) -> TextBlock:
    changed = [pair for pair in pairs if pair.lost_ids or pair.gained_ids]
    notes = (*reason_notes(pairs), *(_ids(pair, name) for pair in changed if name is not None))
    rows = tuple(_line(pair) for pair in pairs)
    foreign = _NOT_FOR_PERPLEXITY if pairs[0].metric == "perplexity" else ()
    kept = [index for index, column in enumerate(_COLUMNS) if column.heading not in foreign]
    shown = tuple(tuple(row[index] for index in kept) for row in rows)
    block = TextBlock(
        title, columns=tuple(_COLUMNS[index] for index in kept), rows=shown, notes=notes, styles=VERDICT_STYLES
    )
    return fit_width(block, width, _DISPENSABLE)


def reason_notes(pairs: Sequence[CellDifference]) -> list[str]:
    """Reasons for verdicts that do not follow from the numbers, one line per reason, with its cells."""
    reasons: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.reason and pair.verdict != "equivalent":
            why = fields_text(pair.differing) or pair.reason
            reasons.setdefault(f"{pair.verdict} ({why})", []).append(pair.new.cell)
        if pair.allowed:
            allowed = f"compared despite differences ({fields_text(pair.allowed)})"
            reasons.setdefault(allowed, []).append(pair.new.cell)
    return [f"{reason}: {', '.join(cells)}" for reason, cells in reasons.items()]


def _ids(pair: CellDifference, name: Callable[[int], str]) -> str:
    sides = (("lost", pair.lost_ids), ("gained", pair.gained_ids))
    return f"{pair.new.cell}: " + "; ".join(f"{what} {', '.join(map(name, ids))}" for what, ids in sides if ids)


def fields_text(items: Sequence[FieldDifference]) -> str:
    """Each differing field with both values; digests are shortened."""
    return "; ".join(f"{item.field}: {_short(item.old)} and {_short(item.new)}" for item in items)


def _short(value: str | int) -> str:
    """First characters of a digest; any other value in full."""
    text = str(value)
    return f"{text[:12]}..." if len(text) == _DIGEST_LENGTH else text or "none"


def _line(pair: CellDifference) -> tuple[str, ...]:
    return (
        pair.new.cell,
        pair.verdict,
        f"{short_text(pair.old)} -> {short_text(pair.new)}",
        outcome_text(pair),
        _count(pair.lost),
        _count(pair.gained),
        p_text(pair.adjusted_p),
        "" if pair.detectable_drop is None else change_text(pair.detectable_drop, pair.metric).removeprefix("+"),
    )


def outcome_text(pair: CellDifference) -> str:
    """Difference with its interval, or the names of the fields that forbid a comparison."""
    if pair.differing:
        return "differs: " + ", ".join(item.field for item in pair.differing)
    return "" if pair.n == pair.unjudged else difference_text(pair)


def difference_text(found: PairedDifference) -> str:
    """Difference with its interval, like ``-7.2 [-10.6, -4.3]``.

    With unjudged samples the difference runs from the worst to the best case; without numbers the text is empty."""
    if found.worst is None or found.best is None:
        return ""
    difference = change_text(found.worst, found.metric)
    if found.difference is None:
        difference += f" to {change_text(found.best, found.metric)}"
    if found.low is None or found.high is None:
        return f"{difference} [no interval]"
    if found.low == found.high:
        return difference
    return f"{difference} [{change_text(found.low, found.metric)}, {change_text(found.high, found.metric)}]"


def change_text(value: float, metric: Metric) -> str:
    """Signed percentage points of accuracy, or signed percent of perplexity; a value that rounds to 0 has no sign.

    Args:
        value: difference of accuracies as a share, or logarithm of the ratio of perplexities.
        metric: metric of the value.
    """
    percent = 100 * (value if metric == "accuracy" else expm1(min(value, _LARGEST)))
    text = f"{percent:+.1f}" if percent < 1e5 else f"{percent:+.1e}"
    text = "0.0" if text in ("+0.0", "-0.0") else text
    return text if metric == "accuracy" else f"{text}%"


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def p_text(p: float | None) -> str:
    """p-value with four decimals; empty for None."""
    if p is None:
        return ""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _summary(comparison: Comparison) -> TextBlock:
    counts = Counter[str](pair.verdict for pair in comparison.pairs)
    verdicts = ", ".join(f"{counts[name]} {name}" for name in VERDICT_STYLES if counts[name])
    notes = [f"cells: {verdicts}"] if verdicts else []
    if comparison.pairs:
        notes += [*uncorrected_notes(comparison), *_legend(comparison)]
    return TextBlock(notes=(*notes, *alone_notes(comparison)))


def alone_notes(comparison: Comparison, limit: int | None = None) -> list[str]:
    """Cells of one table only, one line each; only their number if they are more than ``limit``."""
    notes = []
    for side, rows in (("new", comparison.added), ("old", comparison.removed)):
        labels = model_labels(rows)
        cells = [
            f"only in the {side} table: {row.task} {labels[row.subject]} {row.cell}"
            + (", a date that a spreadsheet made of a fraction" if is_date(row.strength) else "")
            for row in rows
        ]
        many = limit is not None and len(cells) > limit
        notes += [f"{counted(len(cells), 'cell')} only in the {side} table: --full"] if many else cells
    return notes


def uncorrected_notes(comparison: Comparison) -> list[str]:
    """Why some undecided cells have an interval that excludes 0, one line; nothing if there are none."""
    excluding = sum(
        pair.verdict == "undecided" and ((pair.low or 0.0) > 0 or (pair.high or 0.0) < 0) for pair in comparison.pairs
    )
    if not excluding:
        return []
    correction = CORRECTED[comparison.correction]
    return [f"intervals that exclude 0: {counted(excluding, 'undecided cell')}; only p is {correction}-corrected"]


def _legend(comparison: Comparison) -> list[str]:
    """Legend of the table: what each number means."""
    metrics = {pair.metric for pair in comparison.pairs}
    wide, narrow = (f"{100 * (1 - part):g} %" for part in (comparison.alpha, 2 * comparison.alpha))
    margin, alpha = 100 * comparison.margin, f"{comparison.alpha:g}"
    rule = f"{CORRECTED[comparison.correction]}-adjusted within each model and suite, at most {alpha}"
    notes, points = [], "point" if margin == 1 else "points"
    if "accuracy" in metrics:
        notes += [
            f"difference: new - old in points [{wide} paired score interval]",
            f"equivalent: {narrow} interval within {margin:g} {points}, two one-sided tests at {alpha}",
            f"worse, better: two-sided exact McNemar p, {rule}",
            "MDE: minimum detectable effect (drop) in points at 80 % power, given n and the share of changed samples",
        ]
    if "perplexity" in metrics:
        notes += [
            f"perplexity difference: new relative to old in percent [{wide} BCa bootstrap interval], lower is better",
            f"perplexity equivalent: {narrow} interval within a factor of {1 + comparison.margin:g} both ways",
            f"perplexity worse, better: two-sided permutation p of the samples' losses, {rule}",
            "perplexity MDE: minimum detectable effect (rise) at 80 % power, given n and the spread of the differences",
        ]
    models = (
        f"mean of the cells' differences, clustered by sample, two-sided permutation p at most {alpha}, not adjusted"
    )
    return [*notes, f"models: {models}; a result for one seed is about that checkpoint only"]
