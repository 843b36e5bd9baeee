"""``report``: a score table and its changes as one HTML file."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options


def report_command(
    html: Annotated[
        str, typer.Option("--html", metavar="FILE", help="Write the page to this file; '-' is standard output.")
    ],
    version: Annotated[
        str,
        typer.Argument(help="A version like v3 or HEAD~1, FOLDER:v1, a results folder, or a file of leaderboard."),
    ] = "latest",
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
    """Write one self-contained HTML file: tables, figures, credibility, provenance. The page loads nothing else.

    A table can name Python files as models (path.py:factory). For the gallery, such a file runs only if you name it
    with --variant, or with --trust-code.

    Examples:

      robustbench-wb report --html report.html

      robustbench-wb report v2 --html report.html --against v1 --gallery

      robustbench-wb report leaderboard.csv --html report.html
    """
    from robustbench_wb.api.report import report
    from robustbench_wb.report.html.page import report_page

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
    text = report_page(contents)
    if html == "-":
        console.show(text)
    else:
        console.save(html, text)
        console.tell(f"{len(contents.rows)} rows of {contents.name} written to {html}, {len(text.encode()):,} bytes")
