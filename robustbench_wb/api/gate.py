"""``gate`` and the baselines that it needs. Needs no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast, get_args

from robustbench_wb.analysis.gate.decide_gate import decide_gate, records_for_gate
from robustbench_wb.analysis.gate.gate_result import GateResult
from robustbench_wb.analysis.gate.margins import given_margins
from robustbench_wb.analysis.gate.noise_floor import read_noise_floor
from robustbench_wb.analysis.gate.sequential import Scope, SequentialRule
from robustbench_wb.api.staleness import (
    edited_notes,
    old_code_notes,
    require_rows,
    same_version_notes,
    stopped_notes,
)
from robustbench_wb.api.tables import load_compared
from robustbench_wb.errors import StoreError, UsageError
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.baseline import Baseline, baseline_path, make_baseline, read_baseline, write_baseline
from robustbench_wb.store.loaded_table import find_records
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable
from robustbench_wb.text_files import is_file

_STOPPED: Final = (
    "cells that a decision has stopped are decided about the population, in the order of the run; leave out scope and "
    "seed"
)


def gate(
    baseline: str,
    version: str = "latest",
    results: str = "results",
    *,
    margin: float | None = None,
    config: str | None = None,
    strict: bool = False,
    noise: str | None = None,
    sequential: bool = False,
    scope: str = "population",
    seed: int = 0,
) -> GateResult:
    """Decide whether a version lost more than the margin since a baseline.

    Args:
        baseline: a baseline file or any other table; see ``robustbench_wb.store.loaded_table.load_table``. Or a
            per-sample log of lm-evaluation-harness or inspect_ai; ``version`` is then a log as well.
        version: the table to decide on, named likewise.
        results: folder or Delta URL of versions without a place.
        margin: largest accepted drop in every suite: points of accuracy, percent of perplexity.
        config: TOML file with margins per suite; None: ``pyproject.toml`` in the current folder, if there is one.
        strict: whether an undecided difference closes the gate.
        noise: file of ``selfcheck --save``; None: the one that ``config`` names, if any.
        sequential: whether to look at the stored samples one after the other, and say how many decide.
        scope: whether sequential decisions are about the ``population`` of the samples, or about the ``samples``.
        seed: seed of the order of the samples.

    Raises:
        StoreError: a table cannot be read or has no rows, or a baseline or a file of rows was changed.
        UsageError: a margin is out of its range, given twice, or for an unknown suite.
    """
    margins = given_margins(margin, config)
    rule = _rule(sequential, scope=scope, seed=seed)
    before, after, unusual, _ = load_compared(baseline, version, results)
    require_rows(before, after)
    for note in (*edited_notes(before), *edited_notes(after)):
        raise StoreError(note)
    stopped = stopped_notes(before, after)
    if stopped and rule not in (None, SequentialRule()):
        raise UsageError(_STOPPED, "scope", "seed")
    records = find_records((before, after), records_for_gate(before.rows, before.pinned, after.rows), results)
    file = noise if noise is not None else margins.noise
    floors = None if file is None else read_noise_floor(file)
    judged = decide_gate(
        old=before.rows,
        pinned=before.pinned,
        new=after.rows,
        records=records,
        margins=margins,
        strict=strict,
        baseline=before.name,
        version=after.name,
        noise=floors,
        sequential=rule,
    )
    notes = (*unusual, *stopped, *same_version_notes(before, after), *old_code_notes(after))
    return judged.model_copy(update={"noise": file or "", "notes": notes})


def _rule(sequential: bool, *, scope: str, seed: int) -> SequentialRule | None:
    if scope not in get_args(Scope):
        raise UsageError(f"scope = {scope!r} is unknown; use population or samples", "scope")
    if not sequential and (scope != "population" or seed):
        raise UsageError("scope and seed are about sequential decisions; add sequential", "scope", "seed", "sequential")
    return SequentialRule(seed=seed, scope=cast("Scope", scope)) if sequential else None


def pin(name: str, version: str = "latest", results: str = "results", *, to: str | None = None) -> Path:
    """Write a version as a new baseline without ancestors; return its file.

    Args:
        name: name of the baseline.
        version: the version to pin.
        results: folder or Delta URL where results live.
        to: file of the baseline; None: the usual place.

    Raises:
        StoreError: there is no such version, or the file cannot be written.
        UsageError: the baseline exists already, or the name is not allowed.
        MeasurementError: a cell failed.
    """
    path = baseline_path(name, to)
    if is_file(path):
        raise UsageError(f"{path} exists; `baseline promote {name}` succeeds it, or remove it to begin a new chain")
    write_baseline(path, _of_version(name, version, results, parent=None))
    return path


def promote(
    name: str,
    version: str = "latest",
    results: str = "results",
    *,
    margin: float | None = None,
    config: str | None = None,
    to: str | None = None,
) -> tuple[GateResult, Path | None]:
    """Replace the baseline by a version that is shown to be no worse than it and than the pinned ancestor.

    The gate must be open, and no model's mean over its cells may be undecided: an undecided difference is no proof.

    Args:
        name: name of the baseline.
        version: the version to promote.
        results: folder or Delta URL of versions without a place.
        margin: see ``gate``.
        config: see ``gate``.
        to: file of the baseline; None: the usual place.

    Returns:
        The result of the gate, and the file; None for the file if the version was refused.

    Raises:
        StoreError: a table cannot be read, or the file cannot be written.
        UsageError: the baseline is this version already, or as for ``gate``.
    """
    path = baseline_path(name, to)
    judged = gate(str(path), version, results, margin=margin, config=config)
    if judged.exit_code or judged.unproven:
        return judged, None
    parent = read_baseline(path)
    successor = _of_version(name, version, results, parent=parent)
    if list(successor.rows) == list(parent.rows):
        raise UsageError(f"{path} is {parent.header.source} already, and {judged.version} has the same rows")
    write_baseline(path, successor)
    return judged, path


def history(name: str, to: str | None = None) -> Baseline:
    """Read a baseline with its chain of ancestors.

    Raises:
        StoreError: there is no such baseline, or its file was changed.
    """
    return read_baseline(baseline_path(name, to))


def _of_version(name: str, version: str, results: str, *, parent: Baseline | None) -> Baseline:
    table = ScoreTable(results)
    number = table.version(version)
    rows: Sequence[ScoreRow] = table.rows(number)
    info = table.info(number)
    records = RecordStore(results).find([row.key for row in rows if row.key])
    return make_baseline(
        name=name, source=f"v{number}", rows=rows, records=records, provenance=info.provenance, parent=parent
    )
