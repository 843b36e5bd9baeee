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
    from robustbench_wb.report.text_block import TextBlock

Log = Annotated[
    str | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="Log of the run: a line of JSON for each shard, lost worker and evaluation. Default: in the cache.",
    ),
]
UntilDecided = Annotated[
    bool,
    typer.Option(
        "--until-decided",
        help="Stop each evaluation as soon as it is known whether it lost more than the margin since --baseline.",
    ),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="FILE_OR_VERSION",
        help="With --until-decided: a file of `baseline pin`, or a version like v3 or FOLDER:v3.",
    ),
]
Margin = Annotated[
    float | None,
    typer.Option("--margin", metavar="POINTS", help="With --until-decided: accepted drop in every suite."),
]


@takes_experiment(RunRequest.model_fields)
def run_command(
    experiment: Experiment,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print what would be run, with seconds and memory, and do nothing.")
    ] = False,
    results: options.Results = "results",
    log: Log = None,
    until_decided: UntilDecided = False,
    baseline: Baseline = None,
    margin: Margin = None,
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

      robustbench-wb run --suite adversarial --until-decided --baseline v3 --margin 5

    Several suites, tasks, models, recipes and seeds are one run and one version of the table; the same command resumes
    it. A file has the lists suites, tasks, variants, recipes and seeds, other options by name, and the tables include
    and exclude: docs/experiments.md.
    """
    console.set_log_level(log_level)
    if plan:
        _show_plan(experiment, results, progress=progress, as_json=as_json)
        return
    from robustbench_wb import run

    with console.progress_view(progress) as view:
        command = shlex.join(["robustbench-wb", *sys.argv[1:]])
        report = run(
            experiment,
            results,
            progress=view,
            command=command,
            log=log,
            until_decided=until_decided,
            baseline=baseline,
            margin=margin,
        )
    _show_result(report, results, full=full, as_json=as_json)
    raise typer.Exit(report.exit_code)


def _show_result(report: "RunResult", results: str, *, full: bool, as_json: bool) -> None:
    from robustbench_wb.cli.failures import failure_lines
    from robustbench_wb.report.gate import gate_blocks, gate_screen
    from robustbench_wb.report.headline import first_screen, next_lines
    from robustbench_wb.report.json import rows_json
    from robustbench_wb.report.scores import score_blocks

    rows, version, gate = list(report.rows), report.version, report.gate

    def blocks() -> "list[TextBlock]":
        if full:
            return [
                *score_blocks(rows, version, console.width()),
                *(gate_blocks(gate, console.width(), of_run=True) if gate else []),
            ]
        width = console.screen_width()
        return first_screen(report.headline, width=width) if gate is None else gate_screen(gate, width, of_run=True)

    console.present(blocks, lambda: rows_json(rows, version), as_json)
    for line in failure_lines(report.failed, program=console.program(), results=results, log=report.log):
        console.tell(line)
    console.tell(report.saved)
    over_seeds = len({row.seed for row in rows}) > 1
    console.tell(next_lines(version, results, program=console.program(), over_seeds=over_seeds))


def _show_plan(experiment: Experiment, results: str, *, progress: str, as_json: bool) -> None:
    from robustbench_wb import forecast
    from robustbench_wb.report.forecast import forecast_blocks, forecast_json

    with console.progress_view(progress) as view:
        found = forecast(experiment, results, progress=view)
    console.present(lambda: forecast_blocks(found, console.width()), lambda: forecast_json(found), as_json)
