"""Run requests that the versions of a score table were made from."""

from contextlib import suppress

from pydantic import ValidationError

from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import StoreError
from robustbench_wb.store.loaded_table import LoadedTable
from robustbench_wb.store.score_table import ScoreTable


def find_run_requests(side: LoadedTable) -> list[RunRequest]:
    """Distinct run requests of a table, newest first: those of all versions up to the loaded one.

    Requests that this release cannot read are left out; without a table the list is empty.
    """
    try:
        versions = reversed(ScoreTable(side.location).versions())
    except StoreError:
        return []
    given = [info.provenance.get("spec") for info in versions if side.version is None or info.number <= side.version]
    requests = []
    for spec in (one for entry in given for one in (entry if isinstance(entry, list) else [entry])):
        with suppress(ValidationError):  # written by another release
            request = RunRequest.model_validate(spec)
            requests.append(request.model_copy(update={"isolate": False, "timeout": None}))
    return list(dict.fromkeys(requests))
