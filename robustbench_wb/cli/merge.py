"""``merge``: join the results of several machines."""

import shlex
import sys
from typing import Annotated

import typer

from robustbench_wb.cli import console, options


def merge_command(
    others: Annotated[list[str], typer.Argument(metavar="OTHER...", help="Folders or Delta URLs with results.")],
    prefer: Annotated[
        str | None,
        typer.Option(
            "--prefer", metavar="WHO", help="Row to keep in a conflict: mine (existing) or theirs (incoming)."
        ),
    ] = None,
    results: options.Results = "results",
    as_json: options.Json = False,
) -> None:
    """Add all records of other results, and their latest rows as one new version. Merging twice changes nothing.

    Two records with one key and different outcomes are reported: such an evaluation is not deterministic. Two rows of
    one cell that measured different things are a conflict; the existing row stays, unless --prefer says otherwise.

    Exit codes: 0 merged, or nothing new; 2 wrong request; 3 a conflict without --prefer; 5 outcomes of one key differ.
    If several apply, the first of 5, 3. Everything without a conflict is merged in any case.

    Examples:

      robustbench-wb merge shard-1 shard-2 --results results

      robustbench-wb merge s3://bucket/nightly --prefer theirs
    """
    from robustbench_wb import merge
    from robustbench_wb.report.json import value_json
    from robustbench_wb.report.merge import merge_blocks
    from robustbench_wb.spec import to_json_types

    merged = merge(others, results, prefer=prefer, command=shlex.join(["robustbench-wb", *sys.argv[1:]]))
    content = {**to_json_types(merged), "exit_code": int(merged.exit_code)}
    console.present(lambda: merge_blocks(merged), lambda: value_json(content), as_json)
    raise typer.Exit(merged.exit_code)
