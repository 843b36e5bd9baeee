"""What a merge did, as text."""

from collections.abc import Iterable
from typing import Final

from robustbench_wb.report.text_block import TextBlock
from robustbench_wb.store.merge import MergeResult

_IDS: Final = 20
"""So many samples are named; JSON names all."""


def merge_blocks(merged: MergeResult) -> list[TextBlock]:
    """One line on the whole; then what is not deterministic, and the conflicts."""
    parts = [f"{count} {name}{'' if count == 1 else 's'}"
             for count, name in ((merged.rows, "row"), (merged.records, "record")) if count]  # fmt: skip
    new = ", ".join(parts) + (f", now v{merged.version}" if merged.version is not None else "")
    sources = ", ".join(f"{source.place} (v{source.version})" for source in merged.sources)
    return [TextBlock(f"merged {sources}: {new or 'nothing new'}", (), (), tuple(_notes(merged)))]


def _notes(merged: MergeResult) -> Iterable[str]:
    for one in merged.unsteady:
        more = f" and {len(one.ids) - _IDS} more" if len(one.ids) > _IDS else ""
        samples = f"; samples {', '.join(map(str, one.ids[:_IDS]))}{more}" if one.ids else ""
        where = "; ".join(one.cells) or f"record {one.key[:12]}"
        yield f"not deterministic: {where}: {one.place} has other {' and '.join(one.fields)}{samples}; the first stays"
    for conflict in merged.conflicts:
        kept = {
            "mine": "what was there stays",
            "theirs": "replaced",
            None: "what was there stays; decide with --prefer",
        }
        what = f"{', '.join(conflict.fields)} differ" if conflict.fields else "another record"
        yield f"conflict: {conflict.cell}: {conflict.place} measured something else ({what}); {kept[conflict.kept]}"
