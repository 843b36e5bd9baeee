"""``run``: evaluate the models of a suite and commit one version of the score table."""

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import takes_experiment
from robustbench_wb.engine.experiment import Experiment
from robustbench_wb.engine.request import RunRequest

if TYPE_CHECKING:
    from robustbench_wb.api.run import RunResult


@takes_experiment(RunRequest.model_fields)
def run_command(
    experiment: Experiment,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print what would be run, with seconds and memory, and do nothing.")
    ] = False,
    results: options.Results = "results",
    log: Annotated[
        str | None,
        typer.Option(
            "--log",
            metavar="FILE",
            help="Log of the run: a line of JSON for each shard, lost worker and evaluation. Default: in the cache.",
        ),
    ] = None,
    progress: options.ProgressStyle = "auto",
    log_level: options.LogLevel = "warning",
    full: options.Full = False,
    as_json: options.Json = False,
) -> None:
    """Run a suite: train missing models, evaluate missing cells, commit one version of the score table.

    The output has one line per model, ranked by its robust accuracy under all attacks at one radius; --full prints
    every evaluation.

    Examples:

      robustbench-wb run --suite adversarial

      robustbench-wb run --suite adversarial --task fashion-mnist --scale small --variant vit --variant crate

      robustbench-wb run --variant mymodel.py:make --stressor "pgd-linf;eps=8/255;steps=100"

      robustbench-wb run --variant vit --variant "crate;lam=0.05" --seeds 0-2 --plan

      robustbench-wb run experiment.toml

    Several suites, tasks, models, recipes and seeds are one run and one version of the table; the same command resumes
    it. A file has the lists suites, tasks, variants, recipes and seeds, other options by name, and the tables include
    and exclude: docs/experiments.md.
    """
    console.set_log_level(log_level)
    if plan:
        _show_plan(experiment, results, progress=progress, as_json=as_json)
        return
    from robustbench_wb.api.run import run

    with console.progress_view(progress) as view:
        command = shlex.join(["robustbench-wb", *sys.argv[1:]])
        report = run(experiment, results, progress=view, command=command, log=log)
    _show_result(report, results, full=full, as_json=as_json)
    raise typer.Exit(report.exit_code)


def _show_result(report: "RunResult", results: str, *, full: bool, as_json: bool) -> None:
    from robustbench_wb.cli.failures import failure_lines
    from robustbench_wb.report.headline import first_screen, next_lines
    from robustbench_wb.report.json import rows_json
    from robustbench_wb.report.scores import score_blocks

    rows, version = list(report.rows), report.version
    console.present(
        lambda: (
            score_blocks(rows, version, console.width())
            if full
            else first_screen(report.headline, width=console.screen_width())
        ),
        lambda: rows_json(rows, version),
        as_json,
    )
    for line in failure_lines(report.failed, program=console.program(), results=results, log=report.log):
        console.tell(line)
    console.tell(report.saved)
    over_seeds = len({row.seed for row in rows}) > 1
    console.tell(next_lines(version, results, program=console.program(), over_seeds=over_seeds))


def _show_plan(experiment: Experiment, results: str, *, progress: str, as_json: bool) -> None:
    from robustbench_wb.api.forecast import forecast
    from robustbench_wb.report.forecast import forecast_blocks, forecast_json

    with console.progress_view(progress) as view:
        found = forecast(experiment, results, progress=view)
    console.present(lambda: forecast_blocks(found, console.width()), lambda: forecast_json(found), as_json)
