"""A comparison as text: a verdict on each subject, then tables of its cells: what was lost, and how sure that is."""

from collections import Counter
from collections.abc import Sequence
from math import expm1
from typing import Final

from robustbench_wb.analysis.compare.align import FieldDifference
from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison, OverallDifference, PairedDifference
from robustbench_wb.records.names import Metric, variant_name
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.scores import short_text
from robustbench_wb.report.text_block import Column, TextBlock, fit_width
from robustbench_wb.stats.multiplicity import Correction

_COLUMNS: Final = (
    Column("cell"),
    Column("verdict"),
    Column("old -> new", "right"),
    Column("difference", "right"),
    Column("lost", "right"),
    Column("gained", "right"),
    Column("p", "right"),
    Column("detects", "right"),
)
_DISPENSABLE: Final = ("old -> new", "p", "detects")
"""Columns left out of a table that is too wide, the first first."""

_NOT_FOR_PERPLEXITY: Final = ("lost", "gained")

_STYLES: Final = {
    "worse": "bold red",
    "better": "green",
    "equivalent": "",
    "undecided": "yellow",
    "incomplete": "red",
    "not comparable": "red",
}
_CORRECTED: Final[dict[Correction, str]] = {"holm": "Holm", "bh": "Benjamini and Hochberg"}
_DIGEST_LENGTH: Final = 64
_LARGEST: Final = 700.0
"""A larger logarithm of a ratio is shown as this one: exp of 710 overflows."""


def comparison_blocks(comparison: Comparison, width: int | None = None, ids: bool = False) -> list[TextBlock]:
    """The comparison as table data: the verdicts on the subjects, one block per task, scale and subject, a summary.

    Accuracies are in percent, their differences in percentage points, those of perplexities in percent of the old one.

    Args:
        comparison: what was found.
        width: columns to stay within, by leaving out the less important ones; None keeps all.
        ids: whether to name the samples that were lost and gained.
    """
    labels = model_labels(pair.new for pair in comparison.pairs)
    panels: dict[str, list[CellDifference]] = {}
    for pair in comparison.pairs:
        what = f"suite {pair.new.suite}" + (", perplexity" if pair.metric == "perplexity" else "")
        what += f", protocol {pair.new.protocol}" if pair.new.protocol != "sound" else ""
        title = f"{pair.new.task}, {pair.new.scale} scale, {what}: {labels[pair.new.subject]}"
        panels.setdefault(title, []).append(pair)
    blocks = [_panel(title, pairs, width, ids) for title, pairs in panels.items()]
    return [_headline(comparison), *blocks, _summary(comparison)]


def _headline(comparison: Comparison) -> TextBlock:
    """A sentence on the whole, and one on each subject."""
    about = {claim_group(claim): claim for claim in reversed(comparison.claims)}  # the first of a group stands
    counts = Counter[str](claim.verdict for claim in about.values())
    names = [f"{counts[name]} {name}" if len(about) > 1 else name for name in _STYLES if counts[name]]
    sides = f"{comparison.old} -> {comparison.new}: " if comparison.old else ""
    of = f", of {len(about)} subjects" if len(about) > 1 else ""
    title = f"{sides}{', '.join(names)}{of}" if about else f"{sides}nothing to compare, no cell stands in both tables"
    return TextBlock(title, (), (), tuple(map(_sentence, comparison.claims)))


def claim_group(claim: OverallDifference) -> tuple[str, ...]:
    """What a claim is about but for the seeds."""
    return (claim.task, claim.suite, claim.scale, claim.variant, claim.size, claim.recipe)


def _sentence(claim: OverallDifference) -> str:
    where = f"{variant_name(claim)} ({claim.recipe}), {claim.task}, suite {claim.suite}, {claim.scale} scale"
    cells = f"{claim.cells} of {claim.cells + claim.left_out}" if claim.left_out else str(claim.cells)
    over = f"over {cells} cell{'' if cells == '1' else 's'}" + (f", {claim.samples} samples" if claim.samples else "")
    numbers = [] if claim.worst is None else [_with_unit(claim), f"p {p_text(claim.p)}", over]
    if claim.detectable_drop is not None:
        numbers.append(f"detects {change_text(claim.detectable_drop, claim.metric).removeprefix('+')}")
    numbers += [claim.reason] if claim.reason else []
    seeds = ", ".join(map(str, claim.seeds))
    several = claim.unit == "architecture"
    unit = f"this architecture, {len(claim.seeds)} seeds ({seeds})" if several else f"this checkpoint (seed {seeds})"
    return f"{claim.verdict}: {where}: {', '.join(numbers)}; {unit}"


def _with_unit(found: PairedDifference) -> str:
    return difference_text(found) + (" points" if found.metric == "accuracy" else "")


def _panel(title: str, pairs: Sequence[CellDifference], width: int | None, ids: bool) -> TextBlock:
    notes = (*_notes(pairs), *(_ids(pair) for pair in pairs if ids and (pair.lost_ids or pair.gained_ids)))
    rows = tuple(_line(pair) for pair in pairs)
    foreign = _NOT_FOR_PERPLEXITY if pairs[0].metric == "perplexity" else ()
    kept = [index for index, column in enumerate(_COLUMNS) if column.heading not in foreign]
    shown = tuple(tuple(row[index] for index in kept) for row in rows)
    block = TextBlock(title, tuple(_COLUMNS[index] for index in kept), shown, notes, _STYLES)
    return fit_width(block, width, _DISPENSABLE)


def _notes(pairs: Sequence[CellDifference]) -> list[str]:
    """Why a verdict is what it is, where the numbers do not say so: one line per reason, with its cells."""
    reasons: dict[str, list[str]] = {}
    for pair in pairs:
        if pair.reason and pair.verdict != "equivalent":
            why = fields_text(pair.differing) or pair.reason
            reasons.setdefault(f"{pair.verdict} ({why})", []).append(pair.new.cell)
        if pair.allowed:
            allowed = f"compared although it differs ({fields_text(pair.allowed)})"
            reasons.setdefault(allowed, []).append(pair.new.cell)
    return [f"{reason}: {', '.join(cells)}" for reason, cells in reasons.items()]


def _ids(pair: CellDifference) -> str:
    sides = (("lost", pair.lost_ids), ("gained", pair.gained_ids))
    return f"{pair.new.cell}: " + "; ".join(f"{what} {', '.join(map(str, ids))}" for what, ids in sides if ids)


def fields_text(items: Sequence[FieldDifference]) -> str:
    """Each field with both its values; digests are cut."""
    return "; ".join(f"{item.field}: {_short(item.old)} and {_short(item.new)}" for item in items)


def _short(value: str | int) -> str:
    """The first digits of a digest; anything else in full."""
    text = str(value)
    return f"{text[:12]}..." if len(text) == _DIGEST_LENGTH else text or "none"


def _line(pair: CellDifference) -> tuple[str, ...]:
    return (
        pair.new.cell,
        pair.verdict,
        f"{short_text(pair.old)} -> {short_text(pair.new)}",
        _outcome(pair),
        _count(pair.lost),
        _count(pair.gained),
        p_text(pair.adjusted_p),
        "" if pair.detectable_drop is None else change_text(pair.detectable_drop, pair.metric).removeprefix("+"),
    )


def _outcome(pair: CellDifference) -> str:
    if pair.differing:
        return "differs: " + ", ".join(item.field for item in pair.differing)
    return "" if pair.n == pair.unjudged else difference_text(pair)


def difference_text(found: PairedDifference) -> str:
    """``-7.2 [-10.6, -4.3]``; from the worst to the best case when samples were not judged; empty without numbers."""
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
    """Signed percentage points, or from the logarithm of a ratio a signed percentage; what rounds to 0 has no sign."""
    percent = 100 * (value if metric == "accuracy" else expm1(min(value, _LARGEST)))
    text = f"{percent:+.1f}" if percent < 1e5 else f"{percent:+.1e}"
    text = "0.0" if text in ("+0.0", "-0.0") else text
    return text if metric == "accuracy" else f"{text}%"


def _count(number: int | None) -> str:
    return "" if number is None else str(number)


def p_text(p: float | None) -> str:
    """Four decimals; empty for None."""
    if p is None:
        return ""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}"


def _summary(comparison: Comparison) -> TextBlock:
    counts = Counter[str](pair.verdict for pair in comparison.pairs)
    verdicts = ", ".join(f"{counts[name]} {name}" for name in _STYLES if counts[name])
    notes = [f"cells: {verdicts}"] if verdicts else []
    if comparison.pairs:
        notes += _legend(comparison)
    alone = (("only in the new table", comparison.added), ("only in the old table", comparison.removed))
    for what, rows in alone:
        labels = model_labels(rows)
        cells = [f"{row.task} {labels[row.subject]} {row.cell}" for row in rows]
        notes += [f"{what}: {cell}" for cell in cells]
    return TextBlock("", (), (), tuple(notes))


def _legend(comparison: Comparison) -> list[str]:
    """What the numbers are."""
    metrics = {pair.metric for pair in comparison.pairs}
    wide, narrow = (f"{100 * (1 - part):g} %" for part in (comparison.alpha, 2 * comparison.alpha))
    margin, alpha = 100 * comparison.margin, f"{comparison.alpha:g}"
    rule = f"by {_CORRECTED[comparison.correction]} within each subject and suite, at most {alpha}"
    notes, points = [], "point" if margin == 1 else "points"
    if "accuracy" in metrics:
        notes += [
            f"difference: new - old in points [{wide} paired score interval]",
            f"equivalent: {narrow} interval within {margin:g} {points}, two one-sided tests at {alpha}",
            f"worse, better: exact McNemar p, adjusted {rule}",
            "detects: the smallest drop in points seen with 80 % power, given n and how many samples changed",
        ]
    if "perplexity" in metrics:
        notes += [
            f"perplexity difference: new against old in percent [{wide} BCa bootstrap interval], lower is better",
            f"perplexity equivalent: {narrow} interval within a factor of {1 + comparison.margin:g} either way",
            f"perplexity worse, better: permutation p of the samples' losses, adjusted {rule}",
            "perplexity detects: the smallest rise seen with 80 % power, given n and the scatter of the differences",
        ]
    subjects = f"mean of the cells' differences, samples as clusters, permutation p at most {alpha} alone"
    return [*notes, f"subjects: {subjects}; one seed speaks for its checkpoint only"]
