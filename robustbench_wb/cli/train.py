"""``train``: train the models of a run without evaluating them."""

from dataclasses import asdict

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import takes_experiment
from robustbench_wb.engine.experiment import Experiment


@takes_experiment(("suite", "tasks", "variants", "size", "recipe", "scale", "samples", "seed", "data_dir", "device"))
def train_command(
    experiment: Experiment,
    results: options.Results = "results",
    progress: options.ProgressStyle = "auto",
    log_level: options.LogLevel = "warning",
    as_json: options.Json = False,
) -> None:
    """Train every model that `run` with the same options would need, and keep the checkpoints.

    Examples:

      robustbench-wb train --variant crate --task digits --seeds 0-2

      robustbench-wb train --task fashion-mnist --scale small

      robustbench-wb train experiment.toml
    """
    console.set_log_level(log_level)
    from robustbench_wb import train
    from robustbench_wb.report.details import details_json, trained_models_blocks

    with console.progress_view(progress) as view:
        trained = train(experiment, progress=view)
    subjects = [asdict(subject) for subject in trained.subjects]
    console.present(lambda: trained_models_blocks(subjects), lambda: details_json(subjects), as_json)
    raise typer.Exit(trained.exit_code)
