"""``layers``: what each layer of a model does."""

from typing import Unpack

from robustbench_wb.api.request import RequestFields, make_request
from robustbench_wb.engine.layers import SubjectLayers, subject_layers
from robustbench_wb.engine.prepared_run import PreparedRun
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.progress import Progress, SilentProgress


def layers(
    request: RunRequest | None = None, *, progress: Progress | None = None, **fields: Unpack[RequestFields]
) -> SubjectLayers:
    """Measure each layer of one model on one task, clean and under the stressors of a request. Nothing is stored.

    Args:
        request: as for ``robustbench_wb.run``, with one task and one variant; or pass its fields as keywords.
        progress: told what is done.
        **fields: see ``robustbench_wb.RunRequest``.

    Raises:
        UsageError: the request or the data cannot be used, or the model is not a registered transformer.
        MeasurementError: the model cannot be built, or a stressor or the model failed.
    """
    return subject_layers(PreparedRun(make_request(request, fields), progress or SilentProgress()))
