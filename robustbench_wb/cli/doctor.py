"""``doctor``: does a subject obey the rules, and what will a suite cost? Before any hour is spent."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import make_request
from robustbench_wb.errors import ExitCode

Subject = Annotated[
    str,
    typer.Argument(metavar="SUBJECT", help="A variant's name, path.py:factory, timm:NAME, hf:NAME, or a plug-in's."),
]
Task = Annotated[str, typer.Option("--task", help="The task that it shall be tested on.")]
Batch = Annotated[
    int, typer.Option("--batch", "--batch-size", metavar="N", help="The batch that you want to use; is there room?")
]


def doctor_command(
    subject: Subject,
    task: Task = "digits",
    size: options.Size = None,
    suite: options.Suite = "adversarial",
    scale: options.Scale = "smoke",
    checkpoint: options.Checkpoint = None,
    seed: options.Seed = 0,
    data_dir: options.DataDir = None,
    device: options.Device = "auto",
    batch: Batch = 256,
    progress: options.ProgressStyle = "auto",
    log_level: options.LogLevel = "warning",
    as_json: options.Json = False,
) -> None:
    """Examine a model before hours are spent on it: input range, normalisation, mode, logits, gradient, memory, time.

    Every check says what it measured and, if it is not content, what to do. Nothing is trained and nothing is written.
    The exit code is 0 when no check failed (warnings are allowed), else 4.

    Examples:

      robustbench-wb doctor mymodel.py:make

      robustbench-wb doctor timm:resnet18 --task cifar10 --suite adversarial --scale small

      robustbench-wb doctor crate --checkpoint crate.safetensors --json
    """
    console.set_log_level(log_level)
    request = make_request(
        suite=suite, tasks=[task], variants=[subject], size=size, scale=scale, checkpoint=checkpoint, seed=seed,
        data_dir=data_dir, device=device, batch=batch,
    )  # fmt: skip
    from robustbench_wb.api.run import doctor
    from robustbench_wb.report.details import any_json
    from robustbench_wb.report.doctor import diagnosis_blocks

    with console.progress_view(progress) as view:
        diagnosis = doctor(request, view)
    console.present(lambda: diagnosis_blocks(diagnosis, console.width()), lambda: any_json(diagnosis), as_json)
    raise typer.Exit(ExitCode.OK if diagnosis.healthy else ExitCode.INCOMPLETE)
