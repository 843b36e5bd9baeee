"""What compares and sums up finished tables: the front door's part that measures nothing, and needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from robustbench_wb.analysis.compare.align import ALLOWABLE
from robustbench_wb.analysis.compare.compare_tables import compare_tables, records_for_comparison
from robustbench_wb.analysis.compare.comparison import Comparison
from robustbench_wb.analysis.curves.corruption_errors import CorruptionErrors, corruption_errors
from robustbench_wb.analysis.curves.length_curves import LengthCurve, length_curves
from robustbench_wb.analysis.curves.strength_curves import StrengthCurve
from robustbench_wb.analysis.curves.strength_curves import strength_curves as find_curves
from robustbench_wb.errors import UsageError
from robustbench_wb.registry import suggest_names
from robustbench_wb.stats.multiplicity import CORRECTIONS, Correction
from robustbench_wb.store.loaded_table import LoadedTable, find_records, load_table
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable


@dataclass(frozen=True)
class Curves:
    """What one version has at several strengths."""

    strengths: list[StrengthCurve]
    lengths: list[LengthCurve]
    errors: list[CorruptionErrors]


def diff(
    old: str,
    new: str,
    results: str = "results",
    *,
    delta: float = 1.0,
    allow: Sequence[str] = (),
    correction: str = "holm",
) -> Comparison:
    """Compare two tables sample by sample.

    Args:
        old: the earlier one: a version, ``PLACE:VERSION``, a results folder, or a file of ``leaderboard``; see
            :func:`robustbench_wb.store.loaded_table.load_table`.
        new: the later one.
        results: where versions without a place, and the records of files, are.
        delta: differences up to this count as none: points of accuracy, percent of perplexity (0 to 100).
        allow: fields that may differ, although they say what was measured.
        correction: ``holm`` or ``bh``.

    Raises:
        StoreError: there is no such version, folder or file.
        UsageError: an option is out of its range.
    """
    sides = load_table(old, results), load_table(new, results)
    return compare_sides(*sides, results, delta=delta, allow=allow, correction=correction)


def compare_sides(
    before: LoadedTable,
    after: LoadedTable,
    results: str = "results",
    *,
    delta: float = 1.0,
    allow: Sequence[str] = (),
    correction: str = "holm",
) -> Comparison:
    """:func:`diff` of tables that have been read."""
    if not 0 <= delta <= 100:
        raise UsageError(f"--delta {delta:g} is not in points from 0 to 100")
    if correction not in CORRECTIONS:
        raise UsageError(f"unknown correction {correction!r}; use {' or '.join(CORRECTIONS)}")
    for field in allow:
        if field not in ALLOWABLE:
            raise UsageError(f"--allow {field}: no such field; {suggest_names(field, list(ALLOWABLE))}")
    records = find_records((before, after), records_for_comparison(before.rows, after.rows, allow), results)
    chosen = cast("Correction", correction)
    compared = compare_tables(before.rows, after.rows, records, margin=delta / 100, allow=allow, correction=chosen)
    return compared.model_copy(update={"old": before.name, "new": after.name})


def curves(
    version: str | int | None = None, results: str = "results", baseline: str | None = None, alexnet: bool = False
) -> tuple[Curves, int]:
    """Accuracy against strength and length, and errors under common corruptions, from stored results; and the version.

    Args:
        version: like ``v3``; None is the latest.
        results: where the results live.
        baseline: a variant of the table that the corruption errors of all are measured by.
        alexnet: whether they are measured by AlexNet's: mCE, for ImageNet-C alone.

    Raises:
        StoreError: there is no such version.
        UsageError: it has no ladder of accuracies, no such baseline, or AlexNet is no reference for its rows.
    """
    table = ScoreTable(results)
    number = table.version(version)
    rows = table.rows(number)
    records = RecordStore(results).find([row.key for row in rows if row.key])
    found, lengths = find_curves(rows, records), length_curves(rows, records)
    if not (found or lengths):
        raise UsageError(f"v{number} has no accuracies at several strengths, so there are no curves")
    return Curves(found, lengths, corruption_errors(rows, records, baseline, alexnet)), number
