"""``doctor``: examine a model before hours are spent on it."""

from typing import Unpack

from robustbench_wb.api.request import RequestFields, make_request
from robustbench_wb.engine.doctor.diagnose import diagnose
from robustbench_wb.engine.doctor.diagnosis import Diagnosis
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.progress import Progress, SilentProgress
from robustbench_wb.suites.default_suite import common_suite
from robustbench_wb.suites.suite import find_suite


def doctor(
    request: RunRequest | None = None, *, progress: Progress | None = None, **fields: Unpack[RequestFields]
) -> Diagnosis:
    """Examine the first model of a request on its first task; train nothing, write nothing.

    Args:
        request: as for ``robustbench_wb.run``; or pass its fields as keywords.
        progress: told what is done.
        **fields: see ``robustbench_wb.RunRequest``.

    Raises:
        UsageError: the request or the data cannot be used.
    """
    wanted = make_request(request, fields)
    if wanted.tasks is None:  # a suite may have many, and each would be loaded
        first = find_suite(wanted.suite or common_suite(None)).default_tasks(wanted.scale)[:1]
        wanted = wanted.model_copy(update={"tasks": first})
    return diagnose(PreparedRun(wanted, progress or SilentProgress(), may_train=False))
