"""``run``: evaluate the models of a suite and commit one version of the score table."""

import shlex
import sys

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import takes_request
from robustbench_wb.engine.request import RunRequest


@takes_request(RunRequest.model_fields)
def run_command(
    request: RunRequest,
    results: options.Results = "results",
    progress: options.ProgressStyle = "auto",
    log_level: options.LogLevel = "warning",
    as_json: options.Json = False,
) -> None:
    """Run a suite: train missing models, evaluate missing cells, commit one version of the score table.

    Examples:

      robustbench-wb run --suite adversarial

      robustbench-wb run --suite adversarial --task fashion-mnist --scale small --variant vit --variant crate

      robustbench-wb run --variant mymodel.py:make --stressor "pgd-linf;eps=8/255;steps=100"
    """
    console.set_log_level(log_level)
    from robustbench_wb.api.run import run
    from robustbench_wb.report.json import rows_json
    from robustbench_wb.report.scores import score_blocks

    with console.progress_view(progress) as view:
        report = run(request, results, progress=view, command=shlex.join(["robustbench-wb", *sys.argv[1:]]))
    rows, version = list(report.rows), report.version
    console.present(lambda: score_blocks(rows, version, console.width()), lambda: rows_json(rows, version), as_json)
    console.tell(
        f"v{report.version} in {results}: {report.measured} cells measured, {report.reused} reused, "
        f"{report.trained} subjects trained"
    )
    raise typer.Exit(report.exit_code)
