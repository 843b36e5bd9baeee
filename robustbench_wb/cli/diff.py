"""``diff``: paired comparison of two tables, sample by sample."""

from typing import TYPE_CHECKING, Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.report.text_block import counted

if TYPE_CHECKING:  # the command line starts without what its commands need
    from robustbench_wb.analysis.compare.comparison import Comparison
    from robustbench_wb.report.text_block import TextBlock

_SIDE = (
    "a version like v1 or HEAD~1, FOLDER:v1, a results folder, a baseline, a file that leaderboard wrote, or a "
    "per-sample log of lm-evaluation-harness or inspect_ai."
)


def diff_command(
    old: Annotated[str, typer.Argument(metavar="OLD", help=f"The earlier table: {_SIDE}")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The later table.")],
    delta: options.Delta = 1.0,
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
    full: options.Full = False,
    as_json: options.Json = False,
) -> None:
    """Compare two tables in pairs: which samples were lost and gained, and whether the difference is significant.

    The output lists the models and cells that changed; --full lists all. A model has one difference over all its cells,
    clustered by sample, and a cell one verdict (worse, better, equivalent, undecided), from exact McNemar tests of
    accuracies and permutation tests of losses, corrected for the number of cells. Cells that measure different things
    are listed with the field that differs, and never called a regression. The exit code is 0 for any verdict, and 3
    when no cell can be compared.

    Examples:

      robustbench-wb diff v1 v2

      robustbench-wb diff HEAD~1 HEAD --delta 0.5 --ids

      robustbench-wb diff ../main/results:v7 HEAD --allow numerics

      robustbench-wb diff baseline.csv HEAD --json

      robustbench-wb diff old/samples_arc_easy.jsonl new/samples_arc_easy.jsonl
    """
    from robustbench_wb import compare
    from robustbench_wb.report.csv import comparison_csv

    comparison = compare(old, new, results, delta=delta, allow=allow or (), correction=correction)
    if csv == "-":
        console.show(comparison_csv(comparison, ids))
    elif csv is not None:
        console.save(csv, comparison_csv(comparison, ids))
        console.tell(
            f"{counted(len(comparison.claims), 'claim')} and {counted(len(comparison.pairs), 'cell')} written to {csv}"
        )
    else:
        _show(comparison, full=full, ids=ids, as_json=as_json)
    raise typer.Exit(comparison.exit_code)


def _show(comparison: "Comparison", *, full: bool, ids: bool, as_json: bool) -> None:
    from robustbench_wb.report.comparison import comparison_blocks
    from robustbench_wb.report.comparison_screen import comparison_screen
    from robustbench_wb.report.json import comparison_json

    def blocks() -> "list[TextBlock]":
        if full or ids:
            return comparison_blocks(comparison, console.width(), ids)
        return comparison_screen(comparison, console.screen_width())

    console.present(blocks, lambda: comparison_json(comparison, ids), as_json)
