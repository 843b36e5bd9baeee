"""TensorBoard: a folder of event files per model, with the number of the version as step."""

from collections.abc import Sequence
from pathlib import Path

from robustbench_wb.report.trackers.tracker import TrackedRun, library

_FOLDER = "runs"


def write_runs(runs: Sequence[TrackedRun], place: str | None) -> str:
    """Write runs to a log folder."""
    summary = library("tensorboard.summary", "tensorboard")
    folder = Path(place or _FOLDER)
    for run in runs:
        writer = summary.Writer(str(folder / run.name.replace("/", "-")))
        for name, value in run.metrics.items():
            writer.add_scalar(name, value, run.step)
        writer.close()
    return str(folder)
