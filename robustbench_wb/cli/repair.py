"""``repair`` and ``vacuum``: care of a results folder."""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options

Folder = Annotated[
    str, typer.Argument(metavar="[RESULTS]", envvar="RBWB_RESULTS", help="Local folder where results live.")
]


def repair_command(results: Folder = "results", as_json: options.Json = False) -> None:
    """Move damaged records and versions aside, and say which cells are to be measured again.

    Intact records and versions go into new tables, and the damaged ones are kept in RESULTS/damaged. Nothing changes if
    nothing is damaged. No run may write to the folder meanwhile.

    Exit codes: 0 nothing is lost, 2 the folder cannot be repaired, 4 cells are to be measured again.

    Examples:

      robustbench-wb repair

      robustbench-wb repair other/results --json
    """
    from robustbench_wb import repair
    from robustbench_wb.report.json import value_json
    from robustbench_wb.report.repair import repair_blocks
    from robustbench_wb.spec import to_json_types

    found = repair(results)
    content = {**to_json_types(found), "exit_code": int(found.exit_code)}
    console.present(lambda: repair_blocks(found), lambda: value_json(content), as_json)
    raise typer.Exit(found.exit_code)


def vacuum_command(
    results: Folder = "results",
    days: Annotated[float, typer.Option("--days", metavar="D", help="Least age of a removed file, in days.")] = 7.0,
    as_json: options.Json = False,
) -> None:
    """Remove files that no version needs: those of killed runs, and small files that were merged into larger ones.

    All versions and all records stay.

    Examples:

      robustbench-wb vacuum

      robustbench-wb vacuum other/results --days 1
    """
    from robustbench_wb import vacuum
    from robustbench_wb.report.json import value_json
    from robustbench_wb.report.repair import vacuum_blocks
    from robustbench_wb.spec import to_json_types

    found = vacuum(results, days=days)
    console.present(lambda: vacuum_blocks(found), lambda: value_json(to_json_types(found)), as_json)
