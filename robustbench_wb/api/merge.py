"""``merge``: the results of several machines as one version. Needs no torch."""

from collections.abc import Sequence
from typing import cast

from robustbench_wb.errors import UsageError
from robustbench_wb.store.merge import MergeResult, Prefer
from robustbench_wb.store.merge import merge_results as merge_results


def merge(
    places: str | Sequence[str], results: str = "results", *, prefer: str | None = None, command: str = ""
) -> MergeResult:
    """Add all records of other results, and the rows of their latest versions, as one new version.

    Merging again changes nothing. A merge that is killed continues when it is called again.

    Args:
        places: folders or Delta URLs of the other results.
        results: where to merge them into; it need not exist.
        prefer: which row wins where two measured different things: ``mine`` (there already) or ``theirs``. None: the
            row that is there stays, and the conflict is reported.
        command: what the user typed; kept as provenance.

    Raises:
        StoreError: results cannot be read, or the destination cannot be written.
        UsageError: ``prefer`` is something else.
    """
    if prefer not in (None, "mine", "theirs"):
        raise UsageError(f"prefer {prefer}: it is mine or theirs", "prefer")
    given = (places,) if isinstance(places, str) else places
    return merge_results(given, results, prefer=cast("Prefer | None", prefer), command=command)
