"""The one list of readers of logs."""

from pathlib import Path
from typing import Final

from robustbench_wb.errors import StoreError
from robustbench_wb.object_store import is_url
from robustbench_wb.store.sample_logs.inspect_ai import read_inspect_ai
from robustbench_wb.store.sample_logs.lm_eval import read_lm_eval
from robustbench_wb.store.sample_logs.sample_log import LogReader, SampleLog
from robustbench_wb.text_files import is_file, reason_of

READERS: Final[tuple[LogReader, ...]] = (read_lm_eval, read_inspect_ai)
_SUFFIXES: Final = (".jsonl", ".eval", ".json")


def find_log(reference: str) -> SampleLog | None:
    """Read the per-sample log that ``reference`` names; None if it does not name one.

    Raises:
        StoreError: the file cannot be read or is damaged.
    """
    if not str(reference).lower().endswith(_SUFFIXES) or is_url(reference):
        return None
    if not is_file(Path(reference)):
        if reference.lower().endswith(".json"):
            return None
        raise StoreError(f"there is no file {reference!r}")
    try:
        content = Path(reference).read_bytes()
    except OSError as error:
        raise StoreError(f"{reference!r} cannot be read: {reason_of(error)}") from error
    return next((log for read in READERS if (log := read(reference, content)) is not None), None)
