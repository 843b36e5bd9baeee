"""``show VERSION --curves``: accuracy against strength, and errors under common corruptions."""

from robustbench_wb.cli import console


def show_curves(version: str, baseline: str | None, alexnet: bool, results: str, as_json: bool) -> None:
    """Read the rows and records of a version, and print their curves.

    Raises:
        UsageError: there are no curves, no such baseline, or AlexNet is no reference for them.
        StoreError: there is no such version.
    """
    from robustbench_wb.api.compare import curves
    from robustbench_wb.report.curves import curves_blocks, curves_json
    from robustbench_wb.report.lengths import lengths_blocks

    found, number = curves(None if version == "latest" else version, results, baseline, alexnet)
    console.present(
        lambda: [*curves_blocks(found.strengths, found.errors, number), *lengths_blocks(found.lengths, number)],
        lambda: curves_json(found.strengths, found.errors, number, found.lengths),
        as_json,
    )
