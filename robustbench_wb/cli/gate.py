"""``gate``: fail continuous integration when robust accuracy regressed."""

import os
from typing import TYPE_CHECKING, Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.errors import UsageError

if TYPE_CHECKING:  # the command line starts without what its commands need
    from robustbench_wb.analysis.gate.gate_result import GateResult

Baseline = Annotated[
    str,
    typer.Option(
        "--baseline",
        metavar="FILE_OR_VERSION",
        help="A file of `baseline pin`, a version like v3 or FOLDER:v3, or a log of lm-eval or inspect_ai.",
    ),
]
Margin = Annotated[
    float | None,
    typer.Option(
        "--margin",
        metavar="POINTS",
        help="Accepted drop in every suite: points of accuracy, percent of perplexity.",
    ),
]
Config = Annotated[
    str | None,
    typer.Option(
        "--config", metavar="FILE", help="A TOML file with margins per suite.  [default: pyproject.toml, if there]"
    ),
]

Noise = Annotated[
    str | None, typer.Option("--noise", metavar="FILE", help="Noise floors, a file written by `selfcheck --save`.")
]
Junit = Annotated[str | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML: a test case per cell.")]
Sequential = Annotated[
    bool,
    typer.Option("--sequential", help="Look at the stored samples one by one, and say how many decide each cell."),
]
Scope = Annotated[
    str,
    typer.Option("--scope", help="With --sequential: decide about the population of the samples, or the samples."),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="With --sequential: order of the samples.")]


def gate_command(
    baseline: Baseline,
    version: Annotated[str, typer.Option("--version", help="Version to judge, like v4, or a log.")] = "latest",
    margin: Margin = None,
    config: Config = None,
    noise: Noise = None,
    sequential: Sequential = False,
    scope: Scope = "population",
    seed: Seed = 0,
    strict: options.Strict = False,
    junit: Junit = None,
    markdown: options.Markdown = None,
    results: options.Results = "results",
    full: options.Full = False,
    as_json: options.Json = False,
) -> None:
    """Compare a version with a baseline, sample by sample, and fail if accuracy dropped by more than the margin.

    Cells and models are compared in pairs with the baseline and with the pinned ancestor of the baseline. A stronger
    attack or other data is reported as not comparable, never as a regression. On GitHub Actions the result is also
    written as annotations and a step summary.

    Exit codes: 0 passed, 1 regressed, 2 wrong request, 3 a cell is not comparable, 4 a cell failed or is missing, 5 a
    number is not credible (its grade fell, or is F). If several apply, the first of 1, 5, 3, 4.

    Examples:

      robustbench-wb gate --baseline baselines/main.parquet

      robustbench-wb gate --baseline v3 --margin 0.5 --strict

      robustbench-wb gate --baseline baselines/main.parquet --junit robustness.xml --markdown -

      robustbench-wb gate --baseline v3 --margin 5 --sequential

      robustbench-wb gate --baseline old.eval --version new.eval --margin 2
    """
    from robustbench_wb import gate

    if markdown == "-" and as_json:
        raise UsageError("--json and --markdown - cannot both write to standard output")
    judged = gate(
        baseline,
        version,
        results,
        margin=margin,
        config=config,
        strict=strict,
        noise=noise,
        sequential=sequential,
        scope=scope,
        seed=seed,
    )
    _write(judged, junit=junit, markdown=markdown, full=full, as_json=as_json)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        _annotate(judged)
    raise typer.Exit(judged.exit_code)


def _write(judged: "GateResult", *, junit: str | None, markdown: str | None, full: bool, as_json: bool) -> None:
    from robustbench_wb.report.gate import gate_blocks, gate_screen
    from robustbench_wb.report.json import gate_json
    from robustbench_wb.report.junit import gate_junit
    from robustbench_wb.report.markdown import markdown_text as as_markdown

    if junit is not None:
        console.save(junit, gate_junit(judged))
    if markdown == "-":
        console.show(as_markdown(gate_blocks(judged)))
        return
    if markdown is not None:
        console.save(markdown, as_markdown(gate_blocks(judged)))
    console.present(
        lambda: gate_blocks(judged, console.width()) if full else gate_screen(judged, console.screen_width()),
        lambda: gate_json(judged),
        as_json,
    )


def _annotate(judged: "GateResult") -> None:
    """Write annotations to standard error, which the runner reads too, because standard output may be JSON."""
    from robustbench_wb.report.gate import gate_blocks
    from robustbench_wb.report.github import annotations
    from robustbench_wb.report.markdown import markdown_text

    for line in annotations(judged):
        console.tell(line)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        console.append(summary, markdown_text(gate_blocks(judged)))
