"""``explain``: what would a run reuse, what would it measure, and why?"""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import make_request


def explain_command(
    cell: Annotated[
        str,
        typer.Argument(metavar="[CELL]", help="Only cells whose name holds this, like 'vit*pgd-linf@8/255'."),
    ] = "",
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
    results: options.Results = "results",
    progress: options.ProgressStyle = "auto",
    as_json: options.Json = False,
) -> None:
    """Say of every cell of a run whether its record would be reused, and if not, which fields of its identity changed.

    Takes the options of `run`. Trains nothing, measures nothing, and writes nothing to the results: a subject that is
    not in the cache is `not trained yet`, and what would become of its cells is unknown.

    Examples:

      robustbench-wb explain --suite adversarial

      robustbench-wb explain "vit*pgd-linf@8/255" --suite adversarial --scale small
    """
    request = make_request(
        suite=suite, tasks=task, variants=variant, size=size, recipe=recipe, scale=scale, samples=samples, split=split,
        stressors=stressor, epsilons=epsilon, checkpoint=checkpoint, seed=seed, data_dir=data_dir, device=device,
    )  # fmt: skip
    from robustbench_wb.api.explain import explain
    from robustbench_wb.report.explain import explain_blocks
    from robustbench_wb.report.json import explain_json

    with console.progress_view(progress) as view:
        found = explain(request, results, cell, view)
    console.present(lambda: explain_blocks(found), lambda: explain_json(found), as_json)
