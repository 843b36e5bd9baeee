"""``show SUBJECT --strength``: what the attacks' budgets bought, and the checks behind the grades."""

from robustbench_wb.cli import console
from robustbench_wb.errors import UsageError


def show_strength(name: str, stressors: list[str] | None, version: str | None, results: str, as_json: bool) -> None:
    """Read the records of the subject's graded rows, and print them.

    Raises:
        UsageError: there is no such row, or more than one stressor was named.
        StoreError: there is no such version.
    """
    if len(stressors or ()) > 1:
        raise UsageError("--strength takes one --stressor; leave it out for all")
    from robustbench_wb.api.run import strength
    from robustbench_wb.report.strength import strength_blocks, strength_json

    number, found = strength(name, stressors[0] if stressors else None, version, results)
    console.present(lambda: strength_blocks(found, number), lambda: strength_json(found, number), as_json)
