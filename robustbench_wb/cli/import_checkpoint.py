"""``import-checkpoint``: convert weights of another implementation for ``run --checkpoint``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.errors import UsageError
from robustbench_wb.models.shape import Pool


def import_command(
    file: Annotated[Path, typer.Argument(help="A safetensors file, or a torch file of tensors.")],
    variant: Annotated[str, typer.Option("--variant", help="Variant of the weights.")],
    size: Annotated[str, typer.Option("--size", help="Size of the variant.")],
    output: Annotated[Path, typer.Option("--output", metavar="FILE", help="Safetensors file to write.")],
    eta: Annotated[float | None, typer.Option("--eta", help="Step size.  [default: the variant's]")] = None,
    lam: Annotated[float | None, typer.Option("--lambda", help="Sparsity penalty.  [default: the variant's]")] = None,
    mean: Annotated[
        str | None,
        typer.Option("--mean", metavar="R,G,B", help="Channel means of images in \\[0, 1].  [default: ImageNet's]"),
    ] = None,
    std: Annotated[
        str | None, typer.Option("--std", metavar="R,G,B", help="Channel standard deviations.  [default: ImageNet's]")
    ] = None,
    classes: Annotated[
        int | None, typer.Option("--classes", min=1, metavar="N", help="Classes of a new head, if the file has none.")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="HEIGHTxWIDTH", help="Image size in pixels.  [default: square]")
    ] = None,
    pool: Annotated[
        str | None, typer.Option("--pool", metavar="cls|mean", help="Pooling before the head; files do not carry it.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Import a checkpoint of the reference implementation of CRATE, CRATE-alpha, CRATE-MAE, CRATE-GPT or CRATE-BERT,
    of a timm ViT or of a transformers BERT. The file must have every weight under its own name, and no others.

    Examples:

      robustbench-wb import-checkpoint crate.pth --variant crate --size small --pool cls --output crate-s.safetensors

      robustbench-wb import-checkpoint mae.pth --variant crate-mae --size base --lambda 0.5 --pool cls --output mae.st
    """
    from robustbench_wb.report.details import details_blocks, details_json
    from robustbench_wb.training.checkpoint_import import ImportOptions, import_checkpoint

    given = ImportOptions(
        eta=eta,
        lam=lam,
        mean=_numbers("--mean", mean),
        std=_numbers("--std", std),
        classes=classes,
        image=_pixels(image),
        pool=_pool(pool),
    )
    imported = import_checkpoint(file, output, variant=variant, size=size, given=given)
    details = {"output": str(output), **asdict(imported), "shape": imported.shape}
    console.present(
        lambda: details_blocks(f"{variant} {size} from {file}", details), lambda: details_json(details), as_json
    )


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    try:
        return None if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text}: write one number per channel, like 0.5,0.5,0.5") from None


def _pool(text: str | None) -> Pool | None:
    if text not in (None, "cls", "mean"):
        raise UsageError(f"--pool {text}: write cls for the class token, or mean")
    return cast("Pool | None", text)


def _pixels(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise UsageError(f"--image {text}: write height and width in pixels, like 224x224")
    return int(height), int(width)
