"""What the versions of a table were made from."""

from contextlib import suppress

from pydantic import ValidationError

from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import StoreError
from robustbench_wb.store.loaded_table import LoadedTable
from robustbench_wb.store.scores import ScoreTable


def requests_of(side: LoadedTable) -> list[RunRequest]:
    """The requests of the versions, the newest first; of a version, its own and those of earlier ones."""
    try:
        versions = reversed(ScoreTable(side.location).versions())
    except StoreError:
        return []
    given = [info.provenance.get("spec") for info in versions if side.version is None or info.number <= side.version]
    requests = []
    for spec in given:
        with suppress(ValidationError):  # of another harness
            requests.append(RunRequest.model_validate(spec))
    return list(dict.fromkeys(requests))
