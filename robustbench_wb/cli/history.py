"""``history``: the headline numbers of models over the versions of a table."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options


def history_command(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A variant like vit or vit-nano.  [default: all models]")
    ] = None,
    delta: options.Delta = 1.0,
    results: options.Results = "results",
    full: Annotated[
        bool, typer.Option("--full", help="A table per model, with intervals, commits and all headline columns.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Follow the headline number of each model over all versions: a line per model, with verdicts and change points.

    One model, or --full: a table per model with date, commit, intervals and all headline numbers. Each number is
    compared with the one before by a paired test of the same samples. Versions that measured something else are not
    comparable, and never called a regression. Change points are tested over the whole series.

    Examples:

      robustbench-wb history

      robustbench-wb history vit-nano --json
    """
    from robustbench_wb import history
    from robustbench_wb.report.history import history_blocks
    from robustbench_wb.report.history_screen import history_screen
    from robustbench_wb.report.json import value_json
    from robustbench_wb.spec import to_json_types

    found = history(model, results, delta=delta)
    console.present(
        lambda: history_blocks(found, console.width()) if full else history_screen(found, console.screen_width()),
        lambda: value_json(to_json_types(found)),
        as_json,
    )
