"""``gate``: may this version go on?"""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.errors import UsageError

if TYPE_CHECKING:  # the command line starts without what its commands need
    from robustbench_wb.analysis.gate.gate_result import GateResult

Margin = Annotated[
    float | None,
    typer.Option(
        "--margin",
        metavar="POINTS",
        help="Accept a drop of so much, in every suite: points of accuracy, percent of perplexity.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="FILE", help="A TOML file with margins per suite.  [default: pyproject.toml, if there]"
    ),
]


def gate_command(
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline", metavar="FILE_OR_VERSION", help="A file of `baseline pin`, or a version like v3 or FOLDER:v3."
        ),
    ],
    version: Annotated[str, typer.Option("--version", help="What is judged, a version like v4.")] = "latest",
    margin: Margin = None,
    config: Config = None,
    noise: Annotated[
        str | None,
        typer.Option("--noise", metavar="FILE", help="Floors of noise, as `selfcheck --save` writes them."),
    ] = None,
    strict: options.Strict = False,
    junit: Annotated[
        str | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML: a test case per cell.")
    ] = None,
    markdown: options.Markdown = None,
    results: options.Results = "results",
    as_json: options.Json = False,
) -> None:
    """Judge a version against a baseline, sample by sample, and fail if it lost more than the margin.

    Cells and subjects are compared in pairs with the baseline and with the ancestor that it was promoted from. A
    stronger attack or other data is never called a regression: it is not comparable. On GitHub Actions the findings are
    annotations, and a step summary.

    Exit codes: 0 passed, 1 regressed, 2 wrong request, 3 a cell is not comparable, 4 a cell failed or is missing, 5 a
    number may not be believed (its grade fell, or is F). Of several, the first of 1, 5, 3, 4.

    Examples:

      robustbench-wb gate --baseline baselines/main.parquet

      robustbench-wb gate --baseline v3 --margin 0.5 --strict

      robustbench-wb gate --baseline baselines/main.parquet --junit robustness.xml --markdown -
    """
    from robustbench_wb.api.gate import gate

    if markdown == "-" and as_json:
        raise UsageError("--json and --markdown - both want standard output")
    judged = gate(baseline, version, results, margin=margin, config=config, strict=strict, noise=noise)
    _write(judged, junit, markdown, as_json)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        _annotate(judged)
    raise typer.Exit(judged.exit_code)


def _write(judged: "GateResult", junit: str | None, markdown: str | None, as_json: bool) -> None:
    from robustbench_wb.report.gate import gate_blocks
    from robustbench_wb.report.json import gate_json
    from robustbench_wb.report.junit import gate_junit
    from robustbench_wb.report.markdown import markdown as as_markdown

    if junit is not None:
        console.save(junit, gate_junit(judged))
    if markdown == "-":
        console.show(as_markdown(gate_blocks(judged)))
        return
    if markdown is not None:
        console.save(markdown, as_markdown(gate_blocks(judged)))
    console.present(lambda: gate_blocks(judged, console.width()), lambda: gate_json(judged), as_json)


def _annotate(judged: "GateResult") -> None:
    """On standard error, which the runner reads as well: standard output may be JSON."""
    from robustbench_wb.report.gate import gate_blocks
    from robustbench_wb.report.github import annotations
    from robustbench_wb.report.markdown import markdown

    for line in annotations(judged):
        console.tell(line)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        console.append(summary, markdown(gate_blocks(judged)))
