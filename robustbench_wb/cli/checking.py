"""The check of claims as plain Python: what the command does, without parsing and printing."""

from robustbench_wb.stats.check import check, records_of
from robustbench_wb.stats.choose import choose
from robustbench_wb.stats.ledger import Ledger
from robustbench_wb.stats.sentence import read_sentences
from robustbench_wb.store.side import Side, find_records, read_side


def check_claims(file: str, version: str = "latest", results: str = "results", *, strict: bool = False) -> Ledger:
    """Check every sentence of a file.

    Args:
        file: TOML; see :func:`robustbench_wb.stats.sentence.read_sentences`.
        version: what the sentences are about, a side of a comparison; see :func:`robustbench_wb.store.side.read_side`.
        results: where versions without a place are, and the records of files.
        strict: whether what is undecided fails.

    Raises:
        UsageError: the file or a sentence cannot be read, or could mean several things.
        StoreError: a side cannot be read.
    """
    sentences = read_sentences(file)
    main = read_side(version, results)
    named = {name.side for one in sentences.claims for name in (one.subject, one.than) if name is not None}
    sides: dict[str | None, Side] = {None: main} | {
        name: read_side(name, results) for name in named if name is not None
    }
    chosen = choose(sentences, {name: side.rows for name, side in sides.items()})
    records = find_records(sides.values(), records_of(chosen), results)
    return check(chosen, records, strict=strict, file=file, version=main.name)
