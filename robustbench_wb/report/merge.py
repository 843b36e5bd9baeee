"""Result of a merge as text."""

from collections.abc import Iterable
from typing import Final

from robustbench_wb.report.text_block import TextBlock, counted
from robustbench_wb.store.merge import MergeResult

_IDS: Final = 20
"""Displayed sample ids; JSON has all ids."""


def merge_blocks(merged: MergeResult) -> list[TextBlock]:
    """Headline with counts, then measurements that are not deterministic, then conflicts."""
    parts = [counted(count, name) for count, name in ((merged.rows, "row"), (merged.records, "record")) if count]
    new = ", ".join(parts) + (f", now v{merged.version}" if merged.version is not None else "")
    sources = ", ".join(f"{source.place} (v{source.version})" for source in merged.sources)
    return [TextBlock(f"merged {sources}: {new or 'nothing new'}", notes=tuple(_notes(merged)))]


def _notes(merged: MergeResult) -> Iterable[str]:
    for one in merged.unsteady:
        more = f" and {len(one.ids) - _IDS} more" if len(one.ids) > _IDS else ""
        samples = f"; samples {', '.join(map(str, one.ids[:_IDS]))}{more}" if one.ids else ""
        where = "; ".join(one.cells) or f"record {one.key[:12]}"
        fields = " and ".join(one.fields)
        yield f"not deterministic: {where}: {one.place} has different {fields}{samples}; the first record is kept"
    for conflict in merged.conflicts:
        kept = {
            "mine": "the existing row is kept",
            "theirs": "the existing row is replaced",
            None: "the existing row is kept; decide with --prefer",
        }
        what = f"{', '.join(conflict.fields)} differ" if conflict.fields else "another record"
        yield f"conflict: {conflict.cell}: {conflict.place} has another measurement ({what}); {kept[conflict.kept]}"
