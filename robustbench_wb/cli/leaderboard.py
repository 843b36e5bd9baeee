"""``leaderboard``: ranked models with simultaneous rank intervals and costs, and the whole score table."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.errors import UsageError
from robustbench_wb.report.text_block import counted

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
    latex: Annotated[str | None, _export("--latex", "the headline numbers as LaTeX tables (booktabs)")] = None,
    html: Annotated[str | None, _export("--html", "rankings and scores as a page")] = None,
    over_seeds: Annotated[
        bool,
        typer.Option(
            "--over-seeds", help="One line per architecture: mean and deviation over its seeds, and interval."
        ),
    ] = False,
    version: Annotated[str | None, typer.Option("--version", help="Version like v3, instead of the argument.")] = None,
    results: options.Results = "results",
    full: options.Full = False,
    as_json: options.Json = False,
) -> None:
    """Rank the models of each task by their headline number, such as robust accuracy under all attacks at one radius.

    Models are compared in pairs, sample by sample; models that share a letter do not differ significantly. --full adds
    means over all cells, costs, signatures and all rows of the score table; --csv exports the rows in table order.

    Examples:

      robustbench-wb leaderboard

      robustbench-wb leaderboard --over-seeds

      robustbench-wb leaderboard --csv leaderboard.csv --ranking-csv ranking.csv

      robustbench-wb leaderboard v3 --html leaderboard.html --markdown -

      robustbench-wb leaderboard --over-seeds --latex table.tex
    """
    from robustbench_wb import leaderboard

    exports = {"--csv": csv, "--ranking-csv": ranking_csv, "--markdown": markdown, "--latex": latex, "--html": html}
    _check_outputs(exports, as_json=as_json, over_seeds=over_seeds)
    if table is not None and version is not None:
        raise UsageError("the table is given twice, as an argument and as --version; use one of them")
    named = version if table is None else table
    board = leaderboard("latest" if named is None else named, results)
    for name, file in exports.items():
        if file is not None:
            _write(board, name, file=file, over_seeds=over_seeds)
    if as_json or not any(exports.values()):
        if over_seeds:
            _show_over_seeds(board, as_json)
        else:
            _show(board, full=full, as_json=as_json)


def _check_outputs(exports: Mapping[str, str | None], *, as_json: bool, over_seeds: bool) -> None:
    wanted = [name for name, file in exports.items() if file == "-"] + (["--json"] if as_json else [])
    if len(wanted) > 1:
        raise UsageError(f"{' and '.join(wanted)} cannot all write to standard output")
    if over_seeds and exports["--html"] is not None:
        raise UsageError(
            "--html has no means over seeds; leave out --over-seeds, or write --markdown, --latex or --json"
        )


def _write(board: "Leaderboard", name: str, *, file: str, over_seeds: bool) -> None:
    from robustbench_wb.report.csv import ranking_csv, rows_csv, seed_means_csv
    from robustbench_wb.report.html.leaderboard import leaderboard_page
    from robustbench_wb.report.leaderboard import ranking_blocks
    from robustbench_wb.report.markdown import markdown_text
    from robustbench_wb.report.over_seeds import over_seeds_blocks
    from robustbench_wb.report.over_seeds_latex import seed_means_latex

    if name == "--csv":
        text, what = rows_csv(board.rows), counted(len(board.rows), "row")
    elif over_seeds:
        means = board.over_seeds
        if name == "--markdown":
            text = markdown_text(over_seeds_blocks(means))
        else:
            text = seed_means_csv(means) if name == "--ranking-csv" else seed_means_latex(means)
        what = counted(sum(len(panel.lines) for panel in means.panels), "architecture")
    elif name == "--ranking-csv":
        text, what = ranking_csv(board.rankings), counted(len(board.rankings), "ranking")
    elif name == "--markdown":
        text, what = markdown_text(ranking_blocks(board.rankings)), counted(len(board.rankings), "ranking")
    elif name == "--latex":
        text, what = board.to_latex(), counted(len(board.headline.panels), "table")
    else:
        text = leaderboard_page(board.name, board.rows, board.rankings, version=board.version)
        what = counted(len(board.rows), "row")
    if file == "-":
        console.show(text)
    else:
        console.save(file, text)
        console.tell(f"{what} of {board.name} written to {file}")


def _show(board: "Leaderboard", *, full: bool, as_json: bool) -> None:
    from robustbench_wb.report.headline import first_screen
    from robustbench_wb.report.json import leaderboard_json
    from robustbench_wb.report.leaderboard import ranking_blocks
    from robustbench_wb.report.scores import leaderboard_blocks
    from robustbench_wb.report.text_block import TextBlock

    def blocks() -> list[TextBlock]:
        if not full:
            note = TextBlock(notes=(f"Table {board.name}. Means over all cells, costs, signatures: --full",))
            return [*first_screen(board.headline, ranks=True, width=console.screen_width()), note]
        width = console.width()
        scores = leaderboard_blocks(board.rows, board.headline, version=board.version, width=width)
        return [*ranking_blocks(board.rankings, width), *scores]

    console.present(
        blocks,
        lambda: leaderboard_json(board.rows, board.rankings, board.version),
        as_json,
    )


def _show_over_seeds(board: "Leaderboard", as_json: bool) -> None:
    from robustbench_wb.report.details import details_json
    from robustbench_wb.report.over_seeds import over_seeds_blocks

    means = board.over_seeds
    console.present(
        lambda: over_seeds_blocks(means, console.screen_width()), lambda: details_json(means.model_dump()), as_json
    )
