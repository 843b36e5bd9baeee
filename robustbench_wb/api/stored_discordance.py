"""Discordance of stored tables, for plans."""

from robustbench_wb.analysis.gate.discordance import StoredDiscordance, measurement_pairs, stored_discordance
from robustbench_wb.errors import StoreError
from robustbench_wb.store.loaded_table import find_records, load_table


def find_discordance(results: str, version: str | None = None, baseline: str | None = None) -> StoredDiscordance | None:
    """Discordance of the cells of a table.

    Args:
        results: folder or Delta URL where results live.
        version: table with the later outcomes, see ``load_table``; None: the latest version, if there is one.
        baseline: table with the earlier outcomes; None compares the models of ``version`` with each other.

    Returns:
        The discordance; None if no version is stored, or its cells cannot be compared.

    Raises:
        StoreError: a named table or a record cannot be read, or two named tables have no changed cell in common.
    """
    try:
        after = load_table("latest" if version is None else version, results)
    except StoreError:
        if version is None and baseline is None:
            return None
        raise
    before = None if baseline is None else load_table(baseline, results)
    rows, earlier = after.rows, [] if before is None else before.rows
    sides = (after,) if before is None else (before, after)
    keys = {row.key for pair in measurement_pairs(rows, earlier) for row in pair if row.key}
    name = " and ".join(side.name for side in sides)
    found = stored_discordance(rows, earlier, records=find_records(sides, keys, results), tables=name)
    if found is None and (version is not None or baseline is not None):
        raise StoreError(f"{name}: no cell was measured twice on the same samples; give the discordance itself")
    return found
