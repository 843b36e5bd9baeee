"""``leaderboard``: ranked models with simultaneous rank intervals and costs, and the whole score table."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.errors import UsageError

if TYPE_CHECKING:  # the command line starts without what its commands need
    from robustbench_wb.api.leaderboard import Leaderboard


def _export(name: str, what: str) -> Any:
    return typer.Option(name, metavar="FILE", help=f"Write {what} to this file; '-' is standard output.")


def leaderboard_command(
    table: Annotated[
        str | None,
        typer.Argument(
            help="A version like v3 or HEAD~1, FOLDER:v1, a results folder, a baseline, or a file of leaderboard.  "
            "[default: the latest version]"
        ),
    ] = None,
    csv: Annotated[str | None, _export("--csv", "the rows as CSV")] = None,
    ranking_csv: Annotated[str | None, _export("--ranking-csv", "the rankings as CSV")] = None,
    markdown: Annotated[str | None, _export("--markdown", "the rankings as Markdown")] = None,
    html: Annotated[str | None, _export("--html", "rankings and scores as a page")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version like v3, instead of the argument.")] = None,
    results: options.Results = "results",
    as_json: options.Json = False,
) -> None:
    """Rank the models of each task by their mean over all cells, with rank intervals, costs and signatures.

    Models are compared in pairs, sample by sample; models that share a letter do not differ significantly. Below the
    rankings are all rows of the score table, best model first; --csv exports the rows in table order.

    Examples:

      robustbench-wb leaderboard

      robustbench-wb leaderboard --csv leaderboard.csv --ranking-csv ranking.csv

      robustbench-wb leaderboard v3 --html leaderboard.html --markdown -
    """
    from robustbench_wb.api.leaderboard import leaderboard

    exports = {"--csv": csv, "--ranking-csv": ranking_csv, "--markdown": markdown, "--html": html}
    wanted = [name for name, file in exports.items() if file == "-"] + (["--json"] if as_json else [])
    if len(wanted) > 1:
        raise UsageError(f"{' and '.join(wanted)} cannot all write to standard output")
    if table is not None and version is not None:
        raise UsageError("the table is given twice, as an argument and as --version; use one of them")
    board = leaderboard(table or version or "latest", results)
    for name, file in exports.items():
        if file is not None:
            _write(board, name, file)
    if as_json or not any(exports.values()):
        _show(board, as_json)


def _write(board: "Leaderboard", name: str, file: str) -> None:
    from robustbench_wb.report.csv import ranking_csv, rows_csv
    from robustbench_wb.report.html.leaderboard import leaderboard_page
    from robustbench_wb.report.leaderboard import ranking_blocks
    from robustbench_wb.report.markdown import markdown_text

    if name == "--csv":
        text, what = rows_csv(board.rows), f"{len(board.rows)} rows"
    elif name == "--ranking-csv":
        text, what = ranking_csv(board.rankings), f"{len(board.rankings)} rankings"
    elif name == "--markdown":
        text, what = markdown_text(ranking_blocks(board.rankings)), f"{len(board.rankings)} rankings"
    else:
        text = leaderboard_page(board.name, board.rows, board.rankings, version=board.version)
        what = f"{len(board.rows)} rows"
    if file == "-":
        console.show(text)
    else:
        console.save(file, text)
        console.tell(f"{what} of {board.name} written to {file}")


def _show(board: "Leaderboard", as_json: bool) -> None:
    from robustbench_wb.report.json import leaderboard_json
    from robustbench_wb.report.leaderboard import ranking_blocks
    from robustbench_wb.report.scores import leaderboard_blocks

    console.present(
        lambda: [
            *ranking_blocks(board.rankings, console.width()),
            *leaderboard_blocks(board.rows, board.version, console.width()),
        ],
        lambda: leaderboard_json(board.rows, board.rankings, board.version),
        as_json,
    )
