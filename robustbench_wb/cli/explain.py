"""``explain``: which records a run would reuse, and why not the others."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import FIELDS_OF_RESULTS, takes_experiment
from robustbench_wb.engine.experiment import Experiment


@takes_experiment(FIELDS_OF_RESULTS, file=False)
def explain_command(
    experiment: Experiment,
    cell: Annotated[
        str,
        typer.Argument(
            metavar="[CELL]", help="Only cells whose name contains this pattern, like 'vit*pgd-linf@8/255'."
        ),
    ] = "",
    results: options.Results = "results",
    progress: options.ProgressStyle = "auto",
    as_json: options.Json = False,
) -> None:
    """Report which cells of a run would reuse a stored record and, for the others, which fields of the identity differ.

    Takes the options of `run`. Nothing is trained, evaluated or written: a model that is not in the cache is
    `not trained yet`, and the identity of its cells is unknown.

    Examples:

      robustbench-wb explain --suite adversarial

      robustbench-wb explain "vit*pgd-linf@8/255" --suite adversarial --scale small --seeds 0-2
    """
    from robustbench_wb import explain
    from robustbench_wb.report.explain import explain_blocks
    from robustbench_wb.report.json import explain_json

    with console.progress_view(progress) as view:
        found = list(explain(experiment, results, pattern=cell, progress=view).cells)
    console.present(lambda: explain_blocks(found), lambda: explain_json(found), as_json)
