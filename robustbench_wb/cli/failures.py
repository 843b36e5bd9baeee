"""The evaluations of a run that failed, with the commands that repeat them."""

import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from robustbench_wb.api.run import FailedLadder
from robustbench_wb.cli.option_names import option_name
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.report.text_block import counted

SHOWN: Final = 5
"""Number of commands that are printed; the log of the run has all errors."""


def failure_lines(failed: Sequence[FailedLadder], *, program: str, results: str, log: str) -> Iterator[str]:
    """Lines that name the failed evaluations, and the commands that repeat them; none if nothing failed.

    Args:
        failed: what failed.
        program: how this program is called.
        results: folder or URL of the run.
        log: file with the log of the run.
    """
    if not failed:
        return
    yield "To repeat what failed, alone:"
    for one in failed[:SHOWN]:
        others = f" and {counted(len(one.evaluations) - 1, 'other strength')}" if len(one.evaluations) > 1 else ""
        yield f"  {one.evaluations[0]}{others}: {one.error}"
        yield f"    {program} {request_command(one.request, results=results)}"
    if len(failed) > SHOWN:
        yield f"  and {len(failed) - SHOWN} more: {log}"


def request_command(request: RunRequest, *, results: str) -> str:
    """The command that carries out a request, without the name of the program; options of default value are left out.

    Args:
        request: the request.
        results: folder or URL of the results.
    """
    words = ["run"]
    for name, field in RunRequest.model_fields.items():
        value = getattr(request, name)
        if value == field.default or value is None:
            continue
        values = value if isinstance(value, tuple) else (value,)
        words += [
            word for one in values for word in ([option_name(name)] if one is True else [option_name(name), str(one)])
        ]
    words += ["--results", results] if results != "results" else []
    return shlex.join(words)
