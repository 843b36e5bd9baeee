"""``selfcheck``: repeat evaluations under settings that must not matter."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import FIELDS_OF_RESULTS, takes_request
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.report.text_block import counted


@takes_request(FIELDS_OF_RESULTS)
def selfcheck_command(
    request: RunRequest,
    times: Annotated[
        int, typer.Option("--times", metavar="R", min=2, max=1000, help="Number of evaluations of each cell.")
    ] = 3,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Also train again each time, from the same seed, and compare the weights.")
    ] = False,
    save: Annotated[
        str | None, typer.Option("--save", metavar="FILE", help="Write the noise floors as JSON, for `gate --noise`.")
    ] = None,
    progress: options.ProgressStyle = "auto",
    log_level: options.LogLevel = "warning",
    as_json: options.Json = False,
) -> None:
    """Evaluate the same cells several times and report what differs: the noise floor of the harness on this machine.

    Batch size, number of threads, and the order of models and attacks change from run to run; none of them may change
    a verdict. No record is reused and no results are written; models are trained once, or found in the cache.

    Exit codes: 0 no verdict changed, 2 wrong request, 4 a verdict changed or a cell could not be evaluated each time.

    Examples:

      robustbench-wb selfcheck --variant vit --samples 100

      robustbench-wb selfcheck --suite corruption --times 5 --save noise.json

      robustbench-wb selfcheck --variant vit --retrain --json
    """
    console.set_log_level(log_level)
    from robustbench_wb import selfcheck
    from robustbench_wb.report.json import noise_floor_json
    from robustbench_wb.report.selfcheck import selfcheck_blocks

    with console.progress_view(progress) as view:
        noise = selfcheck(request, times=times, retrain=retrain, progress=view)
    if save is not None:
        console.save(save, noise_floor_json(noise))
        console.tell(f"{counted(len(noise.cells), 'cell')} written to {save}")
    console.present(lambda: selfcheck_blocks(noise), lambda: noise_floor_json(noise), as_json)
    raise typer.Exit(noise.exit_code)
