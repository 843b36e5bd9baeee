"""``claims``: test sentences about robustness on stored outcomes."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.errors import UsageError

claims_app = typer.Typer(help="Test sentences about robustness on stored outcomes.", no_args_is_help=True)


@claims_app.command("check")
def check_command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A TOML file with a list of sentences, `claims`.")],
    version: Annotated[
        str,
        typer.Option(
            "--version",
            help="Table that the sentences are about: a version like v3, FOLDER:v3, a baseline, a CSV file.",
        ),
    ] = "latest",
    strict: options.Strict = False,
    junit: Annotated[
        str | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML: a test case per sentence.")
    ] = None,
    markdown: options.Markdown = None,
    results: options.Results = "results",
    as_json: options.Json = False,
) -> None:
    """Test every sentence of a file and show the evidence: estimate, interval, p-value, samples, seeds and records.

    A sentence is like "vit-nano is not worse than crate-nano at pgd-linf eps=8/255 by more than 1 point". It holds when
    its negation is rejected at alpha = 0.05, is refuted when it is rejected itself, and is undecided otherwise. All
    sentences of a file share one multiple-testing correction (Holm).

    Exit codes: 0 no claim is refuted, 1 a claim is refuted (with --strict, or undecided), 2 wrong request, 3 a sentence
    compares cells that are not comparable, 4 outcomes are missing. If several apply, the first of 1, 3, 4.

    Examples:

      robustbench-wb claims check claims.toml

      robustbench-wb claims check claims.toml --version v3 --strict --markdown claims.md

      robustbench-wb claims check claims.toml --version results/published/adversarial-digits-smoke.csv
    """
    from robustbench_wb import claims
    from robustbench_wb.report.claims import claims_blocks
    from robustbench_wb.report.json import claims_json
    from robustbench_wb.report.junit import claims_junit
    from robustbench_wb.report.markdown import markdown_text as as_markdown

    if markdown == "-" and as_json:
        raise UsageError("--json and --markdown - cannot both write to standard output")
    ledger = claims(file, version, results, strict=strict)
    if junit is not None:
        console.save(junit, claims_junit(ledger))
    if markdown is not None and markdown != "-":
        console.save(markdown, as_markdown(claims_blocks(ledger)))
    if markdown == "-":
        console.show(as_markdown(claims_blocks(ledger)))
    else:
        console.present(lambda: claims_blocks(ledger), lambda: claims_json(ledger), as_json)
    raise typer.Exit(ledger.exit_code)
