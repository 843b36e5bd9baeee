"""``history``: headline numbers of models over the versions of a table. Needs no torch."""

from robustbench_wb.analysis.headline.make_headline import records_for_headline
from robustbench_wb.analysis.history.history_result import History, TableVersion
from robustbench_wb.analysis.history.make_history import make_history
from robustbench_wb.errors import UsageError
from robustbench_wb.records.names import variant_name
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.registry import suggest_names
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable, VersionInfo


def history(model: str | None = None, results: str = "results", *, delta: float = 1.0) -> History:
    """Follow the headline numbers of models over all versions of a table.

    Args:
        model: name of a variant like ``vit``, or with its size like ``vit-nano``; None: all models.
        results: folder or Delta URL where results live.
        delta: largest difference that counts as none: points of accuracy, percent of perplexity (0 to 100).

    Raises:
        StoreError: there are no results.
        UsageError: no version has such a model, or ``delta`` is out of its range.
    """
    if not 0 <= delta <= 100:
        raise UsageError(f"delta {delta:g} is not in points from 0 to 100", "delta")
    table = ScoreTable(results)
    found = [(table_version(info), table.rows(info.number)) for info in table.versions()]
    chosen = [(version, [row for row in rows if _is(row, model)]) for version, rows in found]
    if model is not None and not any(rows for _, rows in chosen):
        names = sorted({variant_name(row) for _, rows in found for row in rows})
        raise UsageError(f"no version under {results!r} has a model {model!r}; {suggest_names(model, names)}")
    keys = {key for _, rows in chosen for key in records_for_headline(rows)}
    return make_history(chosen, RecordStore(results).find(sorted(keys)), location=results, margin=delta / 100)


def table_version(info: VersionInfo) -> TableVersion:
    """Number, time and commit of a version."""
    git = info.provenance.get("git")
    state = git if isinstance(git, dict) else {}
    return TableVersion(
        number=info.number,
        time=info.time.isoformat(timespec="seconds"),
        commit=str(state.get("commit") or ""),
        dirty=bool(state.get("dirty")),
    )


def _is(row: ScoreRow, model: str | None) -> bool:
    return model is None or model in (row.variant, variant_name(row))
