"""Options that several commands share; those of a request are made by ``robustbench_wb.cli.request``."""

from typing import Annotated

import typer

Results = Annotated[
    str,
    typer.Option("--results", metavar="PLACE", envvar="RBWB_RESULTS", help="Folder or Delta URL where results live."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Full = Annotated[bool, typer.Option("--full", help="Print every evaluation, with intervals, grades and notes.")]
DataDir = Annotated[
    str | None,
    typer.Option("--data-dir", metavar="DIR", help="Local mirror in hub layout.  [default: RBWB_DATA_DIR]"),
]
TrustedVariants = Annotated[
    list[str] | None,
    typer.Option(
        "--variant", metavar="NAME", help="Model path.py:factory of the table whose code may run. Repeatable."
    ),
]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Run all Python files that the table names; only for your own results.")
]
Delta = Annotated[
    float, typer.Option("--delta", metavar="POINTS", help="Equivalence margin: points of accuracy, % of perplexity.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Also fail on undecided results.")]
Markdown = Annotated[
    str | None, typer.Option("--markdown", metavar="FILE", help="Write Markdown; '-' is standard output.")
]
ProgressStyle = Annotated[str, typer.Option("--progress", help="auto, bar, lines or none.")]
LogLevel = Annotated[str, typer.Option("--log-level", help="debug, info, warning or error.")]
TableVersion = Annotated[
    str,
    typer.Argument(metavar="[VERSION]", help="A version of the score table like v3 or HEAD~1.", show_default="latest"),
]
