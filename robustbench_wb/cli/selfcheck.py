"""``selfcheck``: does the same measurement give the same result?"""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import make_request


def selfcheck_command(
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
    times: Annotated[int, typer.Option("--times", metavar="R", min=2, help="How often each cell is measured.")] = 3,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train each time, too, from the same seed; are the weights the same?")
    ] = False,
    save: Annotated[
        str | None, typer.Option("--save", metavar="FILE", help="Write what `gate --noise` takes, as JSON.")
    ] = None,
    data_dir: options.DataDir = None,
    device: options.Device = "auto",
    progress: options.ProgressStyle = "auto",
    log_level: options.LogLevel = "warning",
    as_json: options.Json = False,
) -> None:
    """Measure the same cells several times, and say what differs: the noise floor of the harness on this machine.

    Batch size, number of threads, and the order of subjects and stressors change from run to run; none may change a
    verdict. Nothing is reused and no results are written; subjects are trained once, or found in the cache.

    Exit codes: 0 no verdict changed, 2 wrong request, 4 some did, or a cell could not be measured each time.

    Examples:

      robustbench-wb selfcheck --variant vit --samples 100

      robustbench-wb selfcheck --suite corruption --times 5 --save noise.json

      robustbench-wb selfcheck --variant vit --retrain --json
    """
    console.set_log_level(log_level)
    request = make_request(
        suite=suite, tasks=task, variants=variant, size=size, recipe=recipe, scale=scale, samples=samples, split=split,
        stressors=stressor, epsilons=epsilon, checkpoint=checkpoint, seed=seed, data_dir=data_dir, device=device,
    )  # fmt: skip
    from robustbench_wb.api.run import selfcheck
    from robustbench_wb.report.json import noise_json
    from robustbench_wb.report.selfcheck import noise_blocks

    with console.progress_view(progress) as view:
        noise = selfcheck(request, times, view, retrain=retrain)
    if save is not None:
        console.save(save, noise_json(noise))
        console.tell(f"{len(noise.cells)} cells written to {save}")
    console.present(lambda: noise_blocks(noise), lambda: noise_json(noise), as_json)
    raise typer.Exit(noise.exit_code)
