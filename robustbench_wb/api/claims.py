"""``claims``: test sentences about robustness on stored outcomes. Needs no torch."""

from robustbench_wb.analysis.claims.claims_result import ClaimsResult
from robustbench_wb.analysis.claims.decide_claims import decide_claims, records_for_claims
from robustbench_wb.analysis.claims.row_selection import select_rows
from robustbench_wb.analysis.claims.sentence import read_claims
from robustbench_wb.store.loaded_table import LoadedTable, find_records, load_table


def claims(file: str, version: str = "latest", results: str = "results", *, strict: bool = False) -> ClaimsResult:
    """Test every sentence of a file, corrected together.

    Args:
        file: TOML; see ``robustbench_wb.analysis.claims.sentence.read_claims``.
        version: table that the sentences are about; see ``robustbench_wb.store.loaded_table.load_table``.
        results: folder or Delta URL of versions without a place, and of the records of files.
        strict: whether an undecided sentence fails the check.

    Raises:
        UsageError: the file or a sentence cannot be read, or could mean several things.
        StoreError: a side cannot be read.
    """
    sentences = read_claims(file)
    main = load_table(version, results)
    named = {name.side for one in sentences.claims for name in (one.subject, one.than) if name is not None}
    sides: dict[str | None, LoadedTable] = {None: main} | {
        name: load_table(name, results) for name in named if name is not None
    }
    chosen = select_rows(sentences, {name: side.rows for name, side in sides.items()})
    records = find_records(sides.values(), records_for_claims(chosen), results)
    return decide_claims(chosen, records, strict=strict, file=file, version=main.name)
