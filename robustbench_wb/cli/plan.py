"""``plan``: samples and seeds that the decisions of a gate need, and what they cost."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import takes_experiment
from robustbench_wb.engine.experiment import Experiment
from robustbench_wb.engine.request import RunRequest

Margin = Annotated[
    float | None,
    typer.Option(
        "--margin", metavar="POINTS", help="Accepted drop, in points.  [default: as `gate`: pyproject.toml, else 1]"
    ),
]
Drop = Annotated[
    float | None,
    typer.Option("--drop", metavar="POINTS", help="Drop that must be shown.  [default: twice the margin]"),
]
Discordance = Annotated[
    float | None,
    typer.Option(
        "--discordance", metavar="PERCENT", help="Samples that change without a drop, instead of the stored share."
    ),
]
Version = Annotated[
    str | None,
    typer.Option("--version", help="Table whose outcomes say how many samples change.  [default: latest]"),
]
Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline", metavar="FILE_OR_VERSION", help="Table that is compared with it, instead of its seeds or models."
    ),
]


@takes_experiment(RunRequest.model_fields)
def plan_command(
    experiment: Experiment,
    margin: Margin = None,
    power: Annotated[
        float, typer.Option("--power", metavar="P", help="Probability of the right decision, like 0.8.")
    ] = 0.8,
    drop: Drop = None,
    discordance: Discordance = None,
    version: Version = None,
    baseline: Baseline = None,
    results: options.Results = "results",
    progress: options.ProgressStyle = "auto",
    log_level: options.LogLevel = "warning",
    as_json: options.Json = False,
) -> None:
    """Find how many samples a gate needs to decide, and what a run with them costs; nothing is trained or written.

    The samples decide both ways with the given power: a model without any drop passes, and one with a drop of --drop
    has regressed. How many samples change without a drop is taken from stored outcomes: between --version and
    --baseline, between the seeds of each model, or between models. `run --plan` shows the smallest drop that a run of
    a given size finds.

    Examples:

      robustbench-wb plan --margin 2 --power 0.8

      robustbench-wb plan --suite adversarial --variant vit --margin 2 --drop 5 --discordance 8

      robustbench-wb plan --variant vit --version v4 --baseline v3
    """
    console.set_log_level(log_level)
    from robustbench_wb import plan
    from robustbench_wb.report.sample_plan import sample_plan_blocks, sample_plan_json

    with console.progress_view(progress) as view:
        found = plan(
            experiment,
            results,
            margin=margin,
            power=power,
            drop=drop,
            discordance=discordance,
            version=version,
            baseline=baseline,
            progress=view,
        )
    console.present(lambda: sample_plan_blocks(found, console.width()), lambda: sample_plan_json(found), as_json)
