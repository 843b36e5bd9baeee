"""``curves``: accuracy against strength and length, and errors under common corruptions."""

from typing import Annotated, Literal

import typer

from robustbench_wb.cli import console, options


def curves_command(
    version: options.TableVersion = "latest",
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="VARIANT", help="Corruption errors relative to those of this model."),
    ] = None,
    reference: Annotated[
        Literal["alexnet"] | None,
        typer.Option("--reference", help="mCE: corruption errors relative to AlexNet's; for ImageNet-C only."),
    ] = None,
    results: options.Results = "results",
    as_json: options.Json = False,
) -> None:
    """Summarise accuracy against strength and length: area, breakdown strength, corruption errors, with intervals.

    Examples:

      robustbench-wb curves

      robustbench-wb curves v3 --baseline vit --json
    """
    from robustbench_wb import curves
    from robustbench_wb.report.curves import curves_blocks, curves_json
    from robustbench_wb.report.lengths import lengths_blocks

    found = curves(version, results, baseline=baseline, alexnet=reference is not None)
    number = found.version
    console.present(
        lambda: [*curves_blocks(found.strengths, found.errors, number), *lengths_blocks(found.lengths, number)],
        lambda: curves_json(found.strengths, found.errors, number, lengths=found.lengths),
        as_json,
    )
