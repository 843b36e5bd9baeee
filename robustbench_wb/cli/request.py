"""From parsed options to a request, with one clear line for a number out of range."""

from pydantic import ValidationError

from robustbench_wb.engine.request import RunRequest
from robustbench_wb.errors import UsageError

_OPTION = {"tasks": "--task", "variants": "--variant", "batch": "--batch-size", "stressors": "--stressor"}


def make_request(**options: object) -> RunRequest:
    """A request from options; those that are None or empty take the request's own default.

    Raises:
        UsageError: a value is out of range; the message names the option.
    """
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    try:
        return RunRequest.model_validate({name: value for name, value in given.items() if value not in (None, ())})
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        option = _OPTION.get(name, f"--{name}")
        raise UsageError(f"{option} {problem['input']}: {problem['msg'].lower()}") from None
