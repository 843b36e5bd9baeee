"""``verify``: is every number of a table what its record says?"""

from typing import Annotated

import typer

from robustbench_wb.cli import console, options


def verify_command(
    side: Annotated[
        str,
        typer.Argument(
            metavar="[SIDE]",
            help="A version like v1 or HEAD~1, FOLDER:v1, a results folder, a baseline, or a file of leaderboard.",
        ),
    ] = "latest",
    rerun: Annotated[
        int, typer.Option("--rerun", metavar="K", help="Measure K samples again, drawn at random over all cells.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of that drawing.")] = 0,
    results: options.Results = "results",
    progress: options.ProgressStyle = "auto",
    as_json: options.Json = False,
) -> None:
    """Recompute every number of a table from the stored outcomes of every sample, and name what was edited.

    Every column is recomputed by the function that made it, or vouched for by the row's checksum; each value that is
    not what it must be is named with its row, its column, and the value it must be. With --rerun, subjects are taken
    from the cache or trained as they were, and samples measured again must come out as they are stored.

    Exit codes: 0 all is well, 2 the table cannot be read, 3 a cell cannot be measured again, 4 a record is missing, 5 a
    number may not be believed: edited, damaged, or not measured so again. Of several, the first of 5, 3, 4.

    Examples:

      robustbench-wb verify

      robustbench-wb verify board.csv --json

      robustbench-wb verify v3 --rerun 20
    """
    from robustbench_wb.api.verify import verify
    from robustbench_wb.report.json import verify_json
    from robustbench_wb.report.verify import verify_blocks

    with console.progress_view(progress) as view:
        found = verify(side, results, rerun=rerun, seed=seed, progress=view)
    console.present(lambda: verify_blocks(found), lambda: verify_json(found), as_json)
    raise typer.Exit(found.exit_code)
