"""Weights & Biases: a project with a run per model, which later versions continue."""

from collections.abc import Sequence

from robustbench_wb.report.trackers.tracker import PROJECT, TrackedRun, library


def write_runs(runs: Sequence[TrackedRun], place: str | None) -> str:
    """Write runs; ``place`` is the folder of local files. The environment variable ``WANDB_MODE=offline`` keeps them
    local."""
    wandb = library("wandb", "wandb")
    where = ""
    for run in runs:
        with wandb.init(
            project=PROJECT, name=run.name, id=run.identifier, resume="allow", dir=place, config=dict(run.parameters)
        ) as own:
            own.log(dict(run.metrics), step=run.step)
            where = str(own.url or own.dir)
    return where
