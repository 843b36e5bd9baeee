"""``train``: the subjects of a run, without measuring them."""

from dataclasses import asdict

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import make_request
from robustbench_wb.errors import ExitCode


def train_command(
    suite: options.Suite = "adversarial",
    task: options.Tasks = None,
    variant: options.Variants = None,
    size: options.Size = None,
    recipe: options.Recipe = "standard",
    scale: options.Scale = "smoke",
    samples: options.Samples = None,
    seed: options.Seed = 0,
    data_dir: options.DataDir = None,
    device: options.Device = "auto",
    results: options.Results = "results",
    progress: options.ProgressStyle = "auto",
    log_level: options.LogLevel = "warning",
    as_json: options.Json = False,
) -> None:
    """Train every subject that a run with the same options would need, and keep the checkpoints.

    Examples:

      robustbench-wb train --variant crate --task digits --seed 1

      robustbench-wb train --task fashion-mnist --scale small
    """
    console.set_log_level(log_level)
    request = make_request(
        suite=suite, tasks=task, variants=variant, size=size, recipe=recipe, scale=scale, samples=samples, seed=seed,
        data_dir=data_dir, device=device,
    )  # fmt: skip
    from robustbench_wb.api.run import train
    from robustbench_wb.report.details import any_json, subjects_blocks

    with console.progress_view(progress) as view:
        subjects = [asdict(subject) for subject in train(request, view)]
    console.present(lambda: subjects_blocks(subjects), lambda: any_json(subjects), as_json)
    raise typer.Exit(ExitCode.INCOMPLETE if any(subject["error"] for subject in subjects) else ExitCode.OK)
