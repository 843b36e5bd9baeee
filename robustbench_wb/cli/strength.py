"""``strength``: robust accuracy against the cost of an attack, and the checks behind its grade."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.errors import UsageError


def strength_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model of the table, with or without its size.")],
    stressor: Annotated[
        list[str] | None,
        typer.Option("--stressor", metavar="SIGNATURE", help="Only this attack; its parameters may be left out."),
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="A version like v3.  [default: the latest]")] = None,
    results: options.Results = "results",
    as_json: options.Json = False,
) -> None:
    """Show robust accuracy against the passes, steps and restarts of an attack, from stored results, and its checks.

    Examples:

      robustbench-wb strength crate

      robustbench-wb strength crate --stressor pgd-linf
    """
    if len(stressor or ()) > 1:
        raise UsageError("strength takes one --stressor; leave it out for all attacks")
    from robustbench_wb import strength
    from robustbench_wb.report.strength import strength_blocks, strength_json

    found = strength(model, stressor=stressor[0] if stressor else None, version=version, results=results)
    rows, number = list(found.rows), found.version
    console.present(lambda: strength_blocks(rows, number), lambda: strength_json(rows, number), as_json)
