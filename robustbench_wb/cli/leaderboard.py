"""``leaderboard``: the whole score table, on screen or as CSV."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options


def leaderboard_command(
    csv: Annotated[
        str | None,
        typer.Option("--csv", metavar="FILE", help="Write CSV to this file; '-' is standard output."),
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="A version like v3.  [default: the latest]")] = None,
    results: options.Results = "results",
    as_json: options.Json = False,
) -> None:
    """Show every row of the score table, the best subject of each task first, or export it as it stands.

    Examples:

      robustbench-wb leaderboard

      robustbench-wb leaderboard --csv leaderboard.csv
    """
    from robustbench_wb.report.csv import leaderboard_csv
    from robustbench_wb.report.json import rows_json
    from robustbench_wb.report.scores import leaderboard_blocks
    from robustbench_wb.store.scores import ScoreTable

    table = ScoreTable(results)
    number = table.version(version)
    rows = table.rows(number)
    if csv == "-":
        console.show(leaderboard_csv(rows))
    elif csv is not None:
        console.save(csv, leaderboard_csv(rows))
        console.tell(f"{len(rows)} rows of v{number} written to {csv}")
    else:
        console.present(
            lambda: leaderboard_blocks(rows, number, console.width()), lambda: rows_json(rows, number), as_json
        )
