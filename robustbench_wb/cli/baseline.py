"""``baseline``: reference versions of a project, kept as files in its repository."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.gate import Config, Margin
from robustbench_wb.errors import ExitCode

baseline_app = typer.Typer(help="Pin, promote and inspect baselines, the references of `gate`.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the baseline, like main.")]
File = Annotated[
    str | None, typer.Option("--to", metavar="FILE", help="File of the baseline.  [default: baselines/NAME.parquet]")
]
Version = Annotated[str, typer.Option("--version", help="A version like v3.")]


@baseline_app.command("pin")
def pin_command(name: Name, version: Version = "latest", to: File = None, results: options.Results = "results") -> None:
    """Write a version, with the outcome of every sample, to one file to commit. The file starts a new chain.

    Examples:

      robustbench-wb baseline pin main

      robustbench-wb baseline pin main --version v3 --to robustness/main.parquet
    """
    from robustbench_wb.api.gate import pin

    path = pin(name, version, results, to=to)
    console.tell(f"pinned: {path}, {path.stat().st_size:,} bytes; commit it")


@baseline_app.command("promote")
def promote_command(
    name: Name,
    version: Version = "latest",
    margin: Margin = None,
    config: Config = None,
    to: File = None,
    results: options.Results = "results",
) -> None:
    """Replace the baseline with a version that is shown to be no worse; otherwise print the reason.

    No model may have lost more than the margin, on average over its cells, since the baseline and since the pinned
    ancestor. Exit codes are those of `gate`; 1 also when the data cannot show it.

    Examples:

      robustbench-wb baseline promote main

      robustbench-wb baseline promote main --version v4 --margin 2
    """
    from robustbench_wb.api.gate import promote
    from robustbench_wb.report.gate import decision_text, gate_blocks, gate_headline
    from robustbench_wb.report.text_block import plain_text

    judged, path = promote(name, version, results, margin=margin, config=config, to=to)
    if path is not None:
        console.tell(f"promoted: {path} is now {judged.version}; commit it")
        return
    console.show(plain_text(gate_blocks(judged, console.width())))
    why = gate_headline(judged) if judged.exit_code else decision_text(judged.unproven[0])
    console.tell(f"not promoted: {why}")
    raise typer.Exit(judged.exit_code or ExitCode.REGRESSION)


@baseline_app.command("history")
def history_command(name: Name, to: File = None, as_json: options.Json = False) -> None:
    """Show the chain from the pinned ancestor to the baseline: origin and mean accuracies of each version.

    Examples:

      robustbench-wb baseline history main
    """
    from robustbench_wb.api.gate import history
    from robustbench_wb.report.baseline import history_blocks, history_json

    baseline = history(name, to)
    console.present(lambda: history_blocks(baseline), lambda: history_json(baseline), as_json)
