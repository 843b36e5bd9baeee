"""Headline numbers over seeds as text, one line per architecture."""

from collections.abc import Iterator
from typing import Final

from robustbench_wb.analysis.over_seeds.seed_means import SeedMean, SeedMeans, SeedPanel
from robustbench_wb.records.names import variant_name
from robustbench_wb.report.forecast import seeds_text
from robustbench_wb.report.headline import GROUP_NOTE, listed_models, table_title
from robustbench_wb.report.headline_text import value_text
from robustbench_wb.report.text_block import Column, TextBlock, counted, fit_width, wrapped

CONSISTENT: Final = "all seeds"
"""Heading of the share of samples that are robust under every seed."""
_FORMULA: Final = (
    "95 % interval over seeds and samples: Wilson's half width and t s / sqrt(S), added in squares (Howe 1974)"
)


def over_seeds_blocks(means: SeedMeans, width: int | None = None) -> list[TextBlock]:
    """For each panel a line per architecture: mean, standard deviation over seeds, interval and grade.

    Args:
        means: headline numbers over seeds.
        width: terminal columns to fit by dropping columns, least important first; None keeps those of the first screen.
    """
    return [_block(panel, width) for panel in means.panels]


def _block(panel: SeedPanel, width: int | None) -> TextBlock:
    tested = bool(panel.tests)
    shown = [at for at, column in enumerate(panel.columns) if column.first]
    always = any(line.numbers[panel.main].consistent is not None for line in panel.lines)
    rows = tuple(
        (
            name,
            seeds_text(line.seeds),
            *[line.group] * tested,
            *(number_text(panel, line.numbers[at]) for at in shown),
            *[consistent_text(panel, line.numbers[panel.main])] * always,
        )
        for name, line in zip(architecture_names(panel), panel.lines, strict=True)
    )
    block = TextBlock(
        table_title(panel, "seed means"),
        columns=(
            Column("model"),
            Column("seeds"),
            *[Column("group")] * tested,
            *(Column(panel.columns[at].name, "right") for at in shown),
            *[Column(CONSISTENT, "right")] * always,
        ),
        rows=rows,
        notes=wrapped(_notes(panel)),
    )
    main = panel.main_column.name
    others = [panel.columns[at].name for at in reversed(shown) if panel.columns[at].name != main]
    return fit_width(block, width, [CONSISTENT, *others])


def architecture_names(panel: SeedPanel) -> list[str]:
    """Name of each architecture, with its recipe if they vary in the panel."""
    recipes = len({line.recipe for line in panel.lines}) > 1
    return [" ".join([variant_name(line), *([line.recipe] if recipes else [])]) for line in panel.lines]


def number_text(panel: SeedPanel, number: SeedMean) -> str:
    """One number, like ``78.6 ± 1.2 [74.1, 82.5] B``; an upper bound like ``<= 78.6 ± 1.2 B``."""
    if number.mean is None:
        return ""
    parts = ["<=", value_text(number.mean, panel.metric)] if number.bound else [value_text(number.mean, panel.metric)]
    parts += [] if number.deviation is None else [f"± {deviation_text(panel, number.deviation)}"]
    if number.low is not None:
        high = "inf" if number.high is None else value_text(number.high, panel.metric)
        parts.append(f"[{value_text(number.low, panel.metric)}, {high}]")
    return " ".join([*parts, number.grade]).rstrip()


def consistent_text(panel: SeedPanel, number: SeedMean) -> str:
    """Share of the samples that are robust under every seed, like ``61.1 [56.0, 66.0]``; empty if it is not known."""
    if number.consistent is None:
        return ""
    parts = (number.consistent, number.consistent_low or 0.0, number.consistent_high or 0.0)
    share, low, high = (value_text(part, panel.metric) for part in parts)
    return f"{share} [{low}, {high}]"


def deviation_text(panel: SeedPanel, value: float) -> str:
    """A standard deviation: points, or a perplexity."""
    return f"{100 * value:.1f}" if panel.metric == "accuracy" else f"{value:.3g}"


def _notes(panel: SeedPanel) -> Iterator[str]:
    yield f"mean ± standard deviation over seeds (S - 1); ordered by {panel.main_column.name}"
    yield _FORMULA
    if any(line.numbers[panel.main].consistent is not None for line in panel.lines):
        yield f"{CONSISTENT}: samples robust under every seed, in {panel.main_column.name} [95 % CI over samples]"
    if panel.tests:
        tests = counted(panel.tests, "pair")
        yield f"group: {GROUP_NOTE} (two-sided, paired by seed and sample, Holm over {tests})"
    if any(column.rule == "joint" for column in panel.columns):
        yield "robust: correct under every attack at that radius"
    if any(line.numbers[panel.main].bound for line in panel.lines):
        yield "<=: upper bound, the lowest accuracy of the combined attacks"
    reasons: dict[str, list[str]] = {}
    for line in panel.lines:
        note = line.numbers[panel.main].note
        if note:
            reasons.setdefault(note, []).append(variant_name(line))
    for note, found in reasons.items():
        yield f"{listed_models(list(dict.fromkeys(found)))}: {note}"
