"""Baselines and the gate as plain Python: what the commands do, without parsing and printing."""

from collections.abc import Sequence
from pathlib import Path

from robustbench_wb.analysis.gate.decide_gate import decide_gate, records_for_gate
from robustbench_wb.analysis.gate.gate_result import GateResult
from robustbench_wb.analysis.gate.margins import Margins, parse_margin, read_margins
from robustbench_wb.analysis.gate.noise_floor import read_noise_floor
from robustbench_wb.errors import UsageError
from robustbench_wb.records.score_row import ScoreRow
from robustbench_wb.store.baseline import Baseline, baseline_path, make_baseline, read_baseline, write_baseline
from robustbench_wb.store.loaded_table import find_records, load_table
from robustbench_wb.store.record_store import RecordStore
from robustbench_wb.store.score_table import ScoreTable


def gate(
    baseline: str,
    version: str = "latest",
    results: str = "results",
    *,
    margin: float | None = None,
    config: str | None = None,
    strict: bool = False,
    noise: str | None = None,
) -> GateResult:
    """Judge a version against a baseline.

    Args:
        baseline: a baseline file or any other table; see :func:`robustbench_wb.store.loaded_table.load_table`.
        version: what is judged, named likewise.
        results: where versions without a place are.
        margin: of every suite, in points of accuracy and percent of perplexity.
        config: a TOML file with margins per suite; None is ``pyproject.toml`` here, if there is one.
        strict: whether what is undecided closes the gate.
        noise: a file of ``selfcheck --save``; None is the one that the margins' file names, if it does.

    Raises:
        StoreError: a side cannot be read, or a baseline file was changed.
        UsageError: a margin is out of its range, given twice, or for a suite that there is not.
    """
    if margin is not None and config is not None:
        raise UsageError("--margin and --config both give margins; use one of them")
    margins = Margins(default=parse_margin(margin, "--margin")) if margin is not None else read_margins(config)
    before, after = load_table(baseline, results), load_table(version, results)
    records = find_records((before, after), records_for_gate(before.rows, before.pinned, after.rows), results)
    names = {"baseline": before.name, "version": after.name}
    file = noise if noise is not None else margins.noise
    floors = None if file is None else read_noise_floor(file)
    judged = decide_gate(
        before.rows, before.pinned, after.rows, records=records, margins=margins, strict=strict, noise=floors, **names
    )
    return judged.model_copy(update={"noise": file or ""})


def pin(name: str, version: str = "latest", results: str = "results", *, to: str | None = None) -> Path:
    """Write a version as a new baseline, which descends from nothing; return its file.

    Raises:
        StoreError: there is no such version, or the file cannot be written.
        UsageError: the baseline exists already, or cannot be named so.
        MeasurementError: a cell failed.
    """
    path = baseline_path(name, to)
    if path.exists():
        raise UsageError(f"{path} exists; `baseline promote {name}` succeeds it, or remove it to begin a new chain")
    write_baseline(path, _of_version(name, version, results, None))
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
    """Let a version succeed the baseline, if it is shown to be no worse than that and than the pinned ancestor.

    The gate must be open, and no subject's mean over its cells may be undecided: that it is not shown to be worse is
    not enough.

    Returns:
        What was judged, and the file; None when it was refused and is as it was. Arguments and errors as above.
    """
    path = baseline_path(name, to)
    judged = gate(str(path), version, results, margin=margin, config=config)
    if judged.exit_code or judged.unproven:
        return judged, None
    parent = read_baseline(path)
    successor = _of_version(name, version, results, parent)
    if list(successor.rows) == list(parent.rows):
        raise UsageError(f"{path} is {parent.header.source} already, and {judged.version} has the same rows")
    write_baseline(path, successor)
    return judged, path


def history(name: str, to: str | None = None) -> Baseline:
    """The baseline with its chain of ancestors.

    Raises:
        StoreError: there is none, or it was changed.
    """
    return read_baseline(baseline_path(name, to))


def _of_version(name: str, version: str, results: str, parent: Baseline | None) -> Baseline:
    table = ScoreTable(results)
    number = table.version(version)
    rows: Sequence[ScoreRow] = table.rows(number)
    info = table.info(number)
    records = RecordStore(results).find([row.key for row in rows if row.key])
    return make_baseline(name, f"v{number}", rows, records, info.provenance, parent)
