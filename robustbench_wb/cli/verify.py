"""``verify``: recompute every number of a table from its records."""

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
        int, typer.Option("--rerun", metavar="K", help="Evaluate K samples again, drawn at random from all cells.")
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random draw.")] = 0,
    variants: options.TrustedVariants = None,
    trust_code: options.TrustCode = False,
    results: options.Results = "results",
    progress: options.ProgressStyle = "auto",
    as_json: options.Json = False,
) -> None:
    """Recompute every number of a table from the stored outcomes of every sample, and report edited values.

    Every column is recomputed by the function that made it, or covered by the row's checksum. Each wrong value is
    reported with its row, its column and the correct value. With --rerun, models come from the cache or are trained
    again, and the samples evaluated again must have the stored outcomes. A table can name Python files as models
    (path.py:factory): such a file runs only if you name it with --variant, or with --trust-code.

    Exit codes: 0 no difference, 2 the table cannot be read, 3 a cell cannot be evaluated again, 4 a record is missing,
    5 a number is not credible: edited, damaged, or not reproduced. If several apply, the first of 5, 3, 4.

    Examples:

      robustbench-wb verify

      robustbench-wb verify board.csv --json

      robustbench-wb verify v3 --rerun 20
    """
    from robustbench_wb import verify
    from robustbench_wb.report.json import verify_json
    from robustbench_wb.report.verify import verify_blocks

    with console.progress_view(progress) as view:
        found = verify(
            side, results, rerun=rerun, seed=seed, variants=variants or (), trust_code=trust_code, progress=view
        )
    console.present(lambda: verify_blocks(found), lambda: verify_json(found), as_json)
    raise typer.Exit(found.exit_code)
