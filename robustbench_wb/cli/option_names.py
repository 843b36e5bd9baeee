"""From names of Python parameters to the options of commands."""

import re
from typing import Final

from robustbench_wb.errors import HarnessError, UsageError

OPTIONS: Final = {
    "tasks": "--task",
    "variants": "--variant",
    "stressors": "--stressor",
    "epsilons": "--epsilon",
    "batch": "--batch-size",
    "suites": "--suite",
    "recipes": "--recipe",
}
"""Options that are not spelled like their parameter."""


def option_name(parameter: str) -> str:
    """The option of a parameter: ``data_dir`` is ``--data-dir``."""
    return OPTIONS.get(parameter, f"--{parameter.replace('_', '-')}")


def with_options(error: HarnessError) -> str:
    """The message of an error with its parameters as options: the first mention of each is replaced."""
    message = str(error)
    for parameter in error.parameters if isinstance(error, UsageError) else ():
        message = re.sub(rf"(?<![\w-]){re.escape(parameter)}\b", option_name(parameter), message, count=1)
    return message
