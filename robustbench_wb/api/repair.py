"""``repair``: move damaged results aside. Needs no torch."""

from robustbench_wb.store.repair import RepairResult, repair_results


def repair(results: str = "results") -> RepairResult:
    """Move damaged records and versions aside, and say which cells are to be measured again.

    Args:
        results: local folder of the results. No run may write to it meanwhile.

    Raises:
        StoreError: the folder has no results, is a URL, or cannot be written.
    """
    return repair_results(results)
