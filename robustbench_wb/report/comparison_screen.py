"""First screen of a comparison: the models and evaluations that changed, and nothing else."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from robustbench_wb.analysis.compare.comparison import CellDifference, Comparison, OverallDifference
from robustbench_wb.records.names import variant_name
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.report.comparison import (
    CORRECTED,
    VERDICT_STYLES,
    alone_notes,
    comparison_title,
    detectable_text,
    difference_text,
    distinct_models,
    outcome_text,
    pairing_notes,
    reason_notes,
    uncorrected_notes,
)
from robustbench_wb.report.model_labels import model_labels
from robustbench_wb.report.scores import short_text
from robustbench_wb.report.text_block import Column, TextBlock, counted, fit_width, wrapped

SHOWN: Final = 15
"""Largest number of evaluations on the first screen."""
ALONE: Final = 3
"""Largest number of listed evaluations that are in one table only."""
_ORDER: Final = ("worse", "incomplete", "not comparable", "better")
_MODELS: Final = (Column("model"), Column("verdict"), Column("mean difference", "right"), Column("cells", "right"))
_CELLS: Final = (
    Column("model"),
    Column("cell"),
    Column("verdict"),
    Column("old -> new", "right"),
    Column("difference", "right"),
)


def comparison_screen(comparison: Comparison, width: int | None = None) -> list[TextBlock]:
    """Title with the verdicts, then the changed models, the changed evaluations, and what the numbers mean.

    Args:
        comparison: the comparison to show.
        width: terminal columns to fit by dropping less important columns; None keeps all.
    """
    title = TextBlock(comparison_title(comparison), notes=(*pairing_notes(comparison), *comparison.notes))
    if comparison.is_unmeasured or not comparison.pairs:
        return [title, *_notes_block(alone_notes(comparison, ALONE))]
    changed = [pair for pair in comparison.pairs if pair.verdict in _ORDER and _is_new(pair)]
    changed.sort(key=lambda pair: _ORDER.index(pair.verdict))
    models = _models(comparison, width)
    blocks = [title, models] if models.rows else [title]
    if changed:
        blocks.append(_cells(changed[:SHOWN], width))
    rest = [*_rest(comparison, changed), *alone_notes(comparison, ALONE), *wrapped(_notes(comparison))]
    return [*blocks, *_notes_block(rest)]


def _notes_block(notes: Sequence[str]) -> list[TextBlock]:
    return [TextBlock(notes=tuple(notes))] if notes else []


def _models(comparison: Comparison, width: int | None) -> TextBlock:
    """Table of the models of which an evaluation was measured anew."""
    anew = {_model(pair.new) for pair in comparison.pairs if _is_new(pair)}
    models = [one for one in distinct_models(comparison) if _model(one) in anew]
    rows = tuple(
        (
            f"{variant_name(one)} {one.recipe}".strip(),
            one.verdict,
            difference_text(one),
            f"{one.cells} of {one.cells + one.left_out}" if one.left_out else str(one.cells),
        )
        for one in models
    )
    notes = [f"{variant_name(one)}: {one.reason}" for one in models if one.reason and one.verdict != "equivalent"]
    notes += [
        f"{variant_name(one)}: minimum detectable effect {detectable_text(one)}"
        for one in models
        if one.verdict == "undecided" and one.detectable_drop is not None
    ]
    block = TextBlock(columns=_MODELS, rows=rows, notes=wrapped(notes), styles=VERDICT_STYLES)
    return fit_width(block, width, ("cells",))


def _model(named: OverallDifference | ScoreRow) -> tuple[str, ...]:
    return tuple(str(getattr(named, name)) for name in ("task", "suite", "scale", "variant", "size", "recipe"))


def _is_new(pair: CellDifference) -> bool:
    """Whether the cell differs: not the same record, and not the same failure."""
    failed = pair.old.status == pair.new.status == "error" and pair.old.error == pair.new.error
    return bool(pair.differing) or not (pair.is_same_record or failed)


def _cells(pairs: Sequence[CellDifference], width: int | None) -> TextBlock:
    labels = model_labels(pair.new for pair in pairs)
    rows = tuple(
        (
            labels[pair.new.subject],
            pair.new.cell,
            pair.verdict,
            f"{short_text(pair.old)} -> {short_text(pair.new)}",
            outcome_text(pair),
        )
        for pair in pairs
    )
    return fit_width(
        TextBlock(columns=_CELLS, rows=rows, notes=tuple(reason_notes(pairs)), styles=VERDICT_STYLES),
        width,
        ("old -> new",),
    )


def _rest(comparison: Comparison, changed: Sequence[CellDifference]) -> Iterable[str]:
    """What the screen leaves out."""
    if len(changed) > SHOWN:
        yield f"{counted(len(changed) - SHOWN, 'more changed cell')}: --full"
    counts = Counter[str](pair.verdict for pair in comparison.pairs)
    counts -= Counter(pair.verdict for pair in changed)
    if counts:
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
        yield f"no significant change in {counts.total()} of {counted(len(comparison.pairs), 'cell')} ({told}): --full"


def _notes(comparison: Comparison) -> Iterable[str]:
    yield from uncorrected_notes(comparison)
    units = {"accuracy": "points", "perplexity": "percent of the old perplexity"}
    unit = " or ".join(units[metric] for metric in units if any(pair.metric == metric for pair in comparison.pairs))
    yield f"difference: new - old in {unit} [two-sided {100 * (1 - comparison.alpha):g} % interval, paired by sample]"
    correction = CORRECTED[comparison.correction]
    yield f"worse, better: two-sided p at most {comparison.alpha:g}, {correction}-corrected within each model"
