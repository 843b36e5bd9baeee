"""``doctor``: examine a model, and forecast the cost of a suite, before hours are spent."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import takes_request
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import ExitCode, UsageError

Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A variant's name, path.py:factory, timm:NAME, hf:NAME, or a plug-in's."),
]


@takes_request(
    ("suite", "tasks", "size", "scale", "checkpoint", "seed", "data_dir", "device", "batch"),
    batch=256,
)
def doctor_command(
    model: Model,
    request: RunRequest,
    progress: options.ProgressStyle = "auto",
    log_level: options.LogLevel = "warning",
    as_json: options.Json = False,
) -> None:
    """Examine a model before hours are spent on it: input range, normalisation, mode, logits, gradient, memory, time.

    Every check reports what it measured and, if it fails or warns, what to do. Nothing is trained or written.
    The exit code is 0 when no check failed (warnings are allowed), otherwise 4.

    Examples:

      robustbench-wb doctor mymodel.py:make

      robustbench-wb doctor timm:resnet18 --task cifar10 --suite adversarial --scale small

      robustbench-wb doctor crate --checkpoint crate.safetensors --json
    """
    console.set_log_level(log_level)
    if len(request.tasks or ()) > 1:
        raise UsageError("doctor examines a model on one --task")
    request = request.model_copy(update={"variants": (model,)})
    from robustbench_wb import doctor
    from robustbench_wb.report.details import details_json
    from robustbench_wb.report.doctor import diagnosis_blocks

    with console.progress_view(progress) as view:
        diagnosis = doctor(request, progress=view)
    console.present(lambda: diagnosis_blocks(diagnosis, console.width()), lambda: details_json(diagnosis), as_json)
    raise typer.Exit(ExitCode.OK if diagnosis.healthy else ExitCode.INCOMPLETE)
