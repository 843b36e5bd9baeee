"""``diff``: two versions of the score table, sample by sample."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options


def diff_command(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The earlier version, like v1.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The later version, like v2.")],
    results: options.Results = "results",
    as_json: options.Json = False,
) -> None:
    """Compare two versions in pairs: which samples were lost and gained, and whether that is more than chance.

    Every cell gets a verdict (worse, better, equivalent, undecided) from a paired test (exact McNemar for accuracy, a
    t-test of the losses for perplexity), corrected for the number of cells. Cells that measure different things are
    refused with the field that differs: exit code 3.

    Examples:

      robustbench-wb diff v1 v2

      robustbench-wb diff v1 v2 --json
    """
    from robustbench_wb.cli.harness import diff
    from robustbench_wb.report.comparison import comparison_blocks
    from robustbench_wb.report.json import comparison_json

    comparison = diff(old, new, results)
    console.present(
        lambda: comparison_blocks(comparison, console.width()), lambda: comparison_json(comparison), as_json
    )
    raise typer.Exit(comparison.exit_code)
