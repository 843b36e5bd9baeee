"""Results of ``repair`` and ``vacuum`` as text."""

from robustbench_wb.report.text_block import TextBlock, counted
from robustbench_wb.store.repair import RepairResult
from robustbench_wb.store.vacuum import VacuumResult


def repair_blocks(found: RepairResult) -> list[TextBlock]:
    """Headline, then damaged files and records, lost versions, and cells to be measured again."""
    title = f"{found.place}: nothing is damaged, {counted(found.kept, 'record')}"
    if found.aside:
        title = (
            f"{found.place}: repaired, {counted(found.kept, 'record')} kept; the damaged tables are in {found.aside}"
        )
    notes = [f"damaged: {name}" for name in found.files]
    notes += [f"damaged: {reason.split('; ')[0]}" for reason in found.records]
    notes += [f"lost: the rows of v{number}; it has those of the version before" for number in found.versions]
    notes += [f"measure again: {cell}" for cell in found.lost]
    if found.lost or found.versions:
        notes.append("type the `run` command of these cells again; all other cells are reused")
    return [TextBlock(title, notes=tuple(notes))]


def vacuum_blocks(found: VacuumResult) -> list[TextBlock]:
    """One line with counts."""
    return [TextBlock(f"{found.place}: {counted(found.files, 'file')} removed, {found.size:,} bytes")]
