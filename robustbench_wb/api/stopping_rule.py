"""The stopping rule of ``run``: a baseline, its records and the margins. Needs no torch."""

from robustbench_wb.analysis.gate.margins import given_margins
from robustbench_wb.analysis.gate.noise_floor import read_noise_floor
from robustbench_wb.analysis.gate.until_decided import UntilDecided
from robustbench_wb.api.staleness import edited_notes, require_rows
from robustbench_wb.errors import StoreError, UsageError
from robustbench_wb.store.loaded_table import find_records, load_table


def stopping_rule(
    until_decided: bool, *, baseline: str | None, margin: float | None, results: str
) -> UntilDecided | None:
    """The rule that stops the cells of a run; None if every cell gets all samples.

    Args:
        until_decided: whether cells are stopped.
        baseline: table that the run is compared with, as ``gate`` takes it.
        margin: largest accepted drop in every suite, in points; None: that of ``pyproject.toml``, else 1.
        results: folder or Delta URL where results live.

    Raises:
        UsageError: the arguments do not fit together, or the margin is out of its range.
        StoreError: the baseline cannot be read or has no rows, or was changed.
    """
    if not until_decided:
        if baseline is not None or margin is not None:
            raise UsageError(
                "baseline and margin say when a cell is decided; add until_decided",
                "baseline",
                "margin",
                "until_decided",
            )
        return None
    if baseline is None:
        raise UsageError("until_decided compares with a baseline; add baseline", "until_decided", "baseline")
    margins = given_margins(margin)
    table = load_table(baseline, results)
    require_rows(table)
    for note in edited_notes(table):
        raise StoreError(note)
    keys = {row.key for row in (*table.rows, *table.pinned) if row.key}
    return UntilDecided(
        name=table.name,
        old=table.rows,
        pinned=table.pinned,
        records=find_records((table,), keys, results),
        margins=margins,
        noise=None if margins.noise is None else read_noise_floor(margins.noise),
    )
