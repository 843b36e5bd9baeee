"""``run``: a suite on tasks and variants."""

import shlex
import sys
from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import make_request


def run_command(
    suite: options.Suite = "adversarial",
    task: options.Tasks = None,
    variant: options.Variants = None,
    size: options.Size = None,
    recipe: options.Recipe = "standard",
    scale: options.Scale = "smoke",
    samples: options.Samples = None,
    split: options.Split = "test",
    stressor: options.Stressors = None,
    epsilon: options.Epsilons = None,
    checkpoint: options.Checkpoint = None,
    seed: options.Seed = 0,
    data_dir: options.DataDir = None,
    device: options.Device = "auto",
    batch_size: options.Batch = None,
    workers: options.Workers = 1,
    layers: Annotated[
        bool, typer.Option("--layers", help="Measure also what each layer does; it goes into CSV and JSON.")
    ] = False,
    results: options.Results = "results",
    progress: options.ProgressStyle = "auto",
    log_level: options.LogLevel = "warning",
    as_json: options.Json = False,
) -> None:
    """Run a suite: train what is not trained yet, measure what is not measured yet, commit one version.

    Examples:

      robustbench-wb run --suite adversarial

      robustbench-wb run --suite adversarial --task fashion-mnist --scale small --variant vit --variant crate

      robustbench-wb run --variant mymodel.py:make --stressor "pgd-linf;eps=8/255;steps=100"
    """
    console.set_log_level(log_level)
    request = make_request(
        suite=suite, tasks=task, variants=variant, size=size, recipe=recipe, scale=scale, samples=samples, split=split,
        stressors=stressor, epsilons=epsilon, checkpoint=checkpoint, seed=seed, data_dir=data_dir, device=device,
        batch=batch_size, workers=workers, layers=layers,
    )  # fmt: skip
    from robustbench_wb.api.run import run
    from robustbench_wb.report.json import rows_json
    from robustbench_wb.report.scores import score_blocks

    with console.progress_view(progress) as view:
        report = run(request, results, view, shlex.join(["robustbench-wb", *sys.argv[1:]]))
    rows, version = report.rows, report.version
    console.present(lambda: score_blocks(rows, version, console.width()), lambda: rows_json(rows, version), as_json)
    console.tell(
        f"v{report.version} in {results}: {report.measured} cells measured, {report.reused} reused, "
        f"{report.trained} subjects trained"
    )
    raise typer.Exit(report.exit_code)
