"""``vacuum``: remove files that no version of the results needs. Needs no torch."""

from robustbench_wb.errors import UsageError
from robustbench_wb.store.vacuum import DAYS, VacuumResult, vacuum_results


def vacuum(results: str = "results", *, days: float = DAYS) -> VacuumResult:
    """Remove files that no version needs: those of killed runs, and small files that were merged into larger ones.

    Args:
        results: local folder of the results.
        days: least age of a removed file, in days.

    Raises:
        StoreError: the folder has no results or damaged ones, is a URL, or cannot be written.
        UsageError: ``days`` is not a number of at least 0.
    """
    if not 0 <= days < float("inf"):
        raise UsageError(f"days {days}: it is a number of at least 0", "days")
    return vacuum_results(results, days)
