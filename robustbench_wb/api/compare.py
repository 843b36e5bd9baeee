"""``compare``: two score tables, sample by sample. Needs no torch."""

from collections.abc import Sequence
from typing import cast

from robustbench_wb.analysis.compare.align import ALLOWABLE
from robustbench_wb.analysis.compare.compare_tables import compare_tables, records_for_comparison
from robustbench_wb.analysis.compare.comparison import Comparison
from robustbench_wb.analysis.compare.score_changes import with_score_changes
from robustbench_wb.api.staleness import edited_notes, require_rows, same_version_notes, stopped_notes
from robustbench_wb.api.tables import load_compared
from robustbench_wb.errors import UsageError
from robustbench_wb.registry import suggest_names
from robustbench_wb.stats.multiplicity import CORRECTIONS, Correction
from robustbench_wb.store.loaded_table import LoadedTable, find_records


def compare(
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
        old: the earlier table: a version, ``PLACE:VERSION``, a results folder, a baseline, or a file of
            ``leaderboard``; see ``robustbench_wb.store.loaded_table.load_table``. Or a per-sample log of
            lm-evaluation-harness or inspect_ai; both tables are then logs.
        new: the later table.
        results: folder or Delta URL of versions without a place, and of the records of files.
        delta: largest difference that counts as none: points of accuracy, percent of perplexity (0 to 100).
        allow: fields of an identity that may differ between compared cells.
        correction: multiple-testing correction over cells, ``holm`` or ``bh``.

    Raises:
        StoreError: there is no such version, folder or file, or it has no rows.
        UsageError: a parameter is out of its range.
    """
    tables = load_compared(old, new, results)
    compared = compare_loaded(tables.old, tables.new, results, delta=delta, allow=allow, correction=correction)
    added = {"notes": (*tables.notes, *compared.notes), "sample_names": tables.sample_names}
    return compared.model_copy(update=added)


def compare_loaded(
    before: LoadedTable,
    after: LoadedTable,
    results: str = "results",
    *,
    delta: float = 1.0,
    allow: Sequence[str] = (),
    correction: str = "holm",
) -> Comparison:
    """Compare two tables that have been read; see ``compare``."""
    require_rows(before, after)
    if not 0 <= delta <= 100:
        raise UsageError(f"delta {delta:g} is not in points from 0 to 100", "delta")
    if correction not in CORRECTIONS:
        raise UsageError(f"correction {correction!r} is unknown; use {' or '.join(CORRECTIONS)}", "correction")
    for field in allow:
        if field not in ALLOWABLE:
            raise UsageError(f"allow {field}: no such field; {suggest_names(field, list(ALLOWABLE))}", "allow")
    records = find_records((before, after), records_for_comparison(before.rows, after.rows, allow), results)
    chosen = cast("Correction", correction)
    compared = compare_tables(before.rows, after.rows, records, margin=delta / 100, allow=allow, correction=chosen)
    notes = (
        *stopped_notes(before, after),
        *same_version_notes(before, after),
        *edited_notes(before),
        *edited_notes(after),
    )
    changed = with_score_changes(compared, records)
    return changed.model_copy(update={"old": before.name, "new": after.name, "notes": notes})
