"""``diff``: paired comparison of two tables, sample by sample."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options

_SIDE = "a version like v1 or HEAD~1, FOLDER:v1, a results folder, a baseline, or a file that leaderboard wrote."


def diff_command(
    old: Annotated[str, typer.Argument(metavar="OLD", help=f"The earlier table: {_SIDE}")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The later table.")],
    delta: Annotated[
        float,
        typer.Option("--delta", metavar="POINTS", help="Equivalence margin: points of accuracy, % of perplexity."),
    ] = 1.0,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="FIELD", help="Compare cells although this field differs. Repeatable."),
    ] = None,
    correction: Annotated[
        str,
        typer.Option("--correction", help="holm (family-wise error rate) or bh (false discovery rate)."),
    ] = "holm",
    ids: Annotated[bool, typer.Option("--ids", help="List the ids of lost and gained samples.")] = False,
    csv: Annotated[
        str | None,
        typer.Option("--csv", metavar="FILE", help="Write CSV to this file; '-' is standard output."),
    ] = None,
    results: options.Results = "results",
    as_json: options.Json = False,
) -> None:
    """Compare two tables in pairs: which samples were lost and gained, and whether the difference is significant.

    The output has one difference per model over all its cells, clustered by sample, and one verdict (worse, better,
    equivalent, undecided) per cell, from exact McNemar tests of accuracies and permutation tests of losses, corrected
    for the number of cells. Cells that measure different things are listed with the field that differs, and never
    called a regression. The exit code is 0 for any verdict, and 3 when no cell can be compared.

    Examples:

      robustbench-wb diff v1 v2

      robustbench-wb diff HEAD~1 HEAD --delta 0.5 --ids

      robustbench-wb diff ../main/results:v7 HEAD --allow numerics

      robustbench-wb diff baseline.csv HEAD --json
    """
    from robustbench_wb.api.compare import compare
    from robustbench_wb.report.comparison import comparison_blocks
    from robustbench_wb.report.csv import comparison_csv
    from robustbench_wb.report.json import comparison_json

    comparison = compare(old, new, results, delta=delta, allow=allow or (), correction=correction)
    if csv == "-":
        console.show(comparison_csv(comparison, ids))
    elif csv is not None:
        console.save(csv, comparison_csv(comparison, ids))
        console.tell(f"{len(comparison.claims)} claims and {len(comparison.pairs)} cells written to {csv}")
    else:
        console.present(
            lambda: comparison_blocks(comparison, console.width(), ids),
            lambda: comparison_json(comparison, ids),
            as_json,
        )
    raise typer.Exit(comparison.exit_code)
