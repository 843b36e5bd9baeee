"""``layers``: what each layer of a model does, on clean inputs and under attacks or corruptions."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.request import takes_request
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError

FIELDS = (
    "tasks", "size", "recipe", "scale", "samples", "stressors", "checkpoint", "seed", "data_dir", "device", "batch",
)  # fmt: skip


@takes_request(FIELDS, tasks=["digits"])
def layers_command(
    variant: Annotated[str, typer.Argument(metavar="VARIANT", help="Name of a registered variant, like crate.")],
    request: RunRequest,
    progress: options.ProgressStyle = "auto",
    as_json: options.Json = False,
) -> None:
    """Train a variant, or find it in the cache, and measure each layer: coding rate, sparsity, entropy, drift.

    Examples:

      robustbench-wb layers crate

      robustbench-wb layers crate --stressor "pgd-linf;eps=8/255"
    """
    if len(request.tasks or ()) > 1:
        raise UsageError("layers are measured on one --task")
    request = request.model_copy(update={"suite": "clean", "variants": (variant,)})
    from robustbench_wb.api.layers import layers
    from robustbench_wb.report.layers import layer_blocks, layers_json

    with console.progress_view(progress) as view:
        found = layers(request, progress=view)
    console.present(lambda: layer_blocks(found), lambda: layers_json(found), as_json)
