"""``baseline``: versions that a project holds itself to, as files in its repository."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options
from robustbench_wb.cli.gate import Config, Margin
from robustbench_wb.errors import ExitCode

baseline_app = typer.Typer(help="Pin, promote and explain the baselines that `gate` judges by.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the baseline, like main.")]
File = Annotated[
    str | None, typer.Option("--to", metavar="FILE", help="Where it is.  [default: baselines/NAME.parquet]")
]
Version = Annotated[str, typer.Option("--version", help="A version like v3.")]


@baseline_app.command("pin")
def pin_command(name: Name, version: Version = "latest", to: File = None, results: options.Results = "results") -> None:
    """Write a version with the outcome of every sample to one file, to be committed. It begins a new chain.

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
    """Let a version succeed the baseline, if it is shown to be no worse; else say why not.

    No subject may have lost more than the margin, on average over its cells, since the baseline and since the
    ancestor that was pinned. Exit codes as for `gate`; 1 also when that is not certain.

    Examples:

      robustbench-wb baseline promote main

      robustbench-wb baseline promote main --version v4 --margin 2
    """
    from robustbench_wb.api.gate import promote
    from robustbench_wb.report.gate import gate_blocks, headline, sentence
    from robustbench_wb.report.text import plain

    judged, path = promote(name, version, results, margin=margin, config=config, to=to)
    if path is not None:
        console.tell(f"promoted: {path} is now {judged.version}; commit it")
        return
    console.show(plain(gate_blocks(judged, console.width())))
    why = headline(judged) if judged.exit_code else sentence(judged.unproven[0])
    console.tell(f"not promoted: {why}")
    raise typer.Exit(judged.exit_code or ExitCode.REGRESSION)


@baseline_app.command("history")
def history_command(name: Name, to: File = None, as_json: options.Json = False) -> None:
    """Show the chain from the pinned ancestor to the baseline: where each is from, and its mean accuracies.

    Examples:

      robustbench-wb baseline history main
    """
    from robustbench_wb.api.gate import history
    from robustbench_wb.report.baseline import history_blocks, history_json

    baseline = history(name, to)
    console.present(lambda: history_blocks(baseline), lambda: history_json(baseline), as_json)
