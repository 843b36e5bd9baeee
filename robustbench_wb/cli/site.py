"""``site``: the pages of a results folder."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.report.text_block import counted


def site_command(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Folder of the pages; it is created.")],
    last: Annotated[
        int, typer.Option("--last", metavar="N", help="Number of versions with a report, the newest ones.")
    ] = 20,
    results: options.Results = "results",
) -> None:
    """Write report, leaderboard, history and comparisons of all versions as linked static pages.

    The pages work from a folder and from any web server, such as GitHub Pages, and load nothing else.

    Examples:

      robustbench-wb site public

      robustbench-wb site docs/robustness --results results --last 5
    """
    from robustbench_wb import site

    console.require_folder(folder)
    pages = site(results, last=last)
    console.save_files(folder, pages)
    console.tell(f"{counted(len(pages), 'page')} written to {folder}; open {folder}/index.html")
