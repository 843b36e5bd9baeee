"""``report``: a score table and its changes as one HTML file."""

from typing import TYPE_CHECKING, Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.errors import UsageError
from robustbench_wb.report.text_block import counted

if TYPE_CHECKING:  # the command line starts without what its commands need
    from robustbench_wb.report.html.page import ReportContents


def report_command(
    version: Annotated[
        str,
        typer.Argument(help="A version like v3 or HEAD~1, FOLDER:v1, a results folder, or a file of leaderboard."),
    ] = "latest",
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write the page to this file; '-' is standard output.")
    ] = None,
    figures: Annotated[
        str | None,
        typer.Option("--figures", metavar="DIR", help="Write each figure as PDF and SVG, in the style of a paper."),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="OLD", help="Earlier table to compare with.")
    ] = None,
    gallery: Annotated[
        bool,
        typer.Option(
            "--gallery",
            help="Also show adversarial examples: loads the tasks (which may download) and runs the attacks again.",
        ),
    ] = False,
    variants: options.TrustedVariants = None,
    trust_code: options.TrustCode = False,
    data_dir: options.DataDir = None,
    results: options.Results = "results",
    progress: options.ProgressStyle = "auto",
) -> None:
    """Write one self-contained HTML file, and figures for a paper. The page has the winner, tables, figures, doubts,
    costs and provenance, and loads nothing else.

    A table can name Python files as models (path.py:factory). For the gallery, such a file runs only if you name it
    with --variant, or with --trust-code.

    Examples:

      robustbench-wb report --html report.html

      robustbench-wb report v2 --html report.html --against v1 --gallery

      robustbench-wb report leaderboard.csv --html report.html

      robustbench-wb report --figures figures
    """
    from robustbench_wb.api.report import report

    _check_outputs(html=html, figures=figures)
    with console.progress_view(progress) as view:
        contents = report(
            version,
            results,
            against=against,
            gallery=gallery,
            variants=variants or (),
            trust_code=trust_code,
            data_dir=data_dir,
            progress=view,
        )
    _write(contents, html=html, figures=figures)


def _check_outputs(*, html: str | None, figures: str | None) -> None:
    if html is None and figures is None:
        raise UsageError("nothing to write; name a file with --html FILE or a folder with --figures DIR")
    if figures is not None:
        console.require_folder(figures)


def _write(contents: "ReportContents", *, html: str | None, figures: str | None) -> None:
    from robustbench_wb.report.html.page import report_page

    if figures is not None:
        files = contents.figures()
        console.save_files(figures, files)
        console.tell(f"{len(files) // 2} figures of {contents.name} written to {figures}, each as PDF and SVG")
    if html is None:
        return
    text = report_page(contents)
    if html == "-":
        console.show(text)
    else:
        console.save(html, text)
        rows, size = counted(len(contents.rows), "row"), len(text.encode())
        console.tell(f"{rows} of {contents.name} written to {html}, {size:,} bytes")
