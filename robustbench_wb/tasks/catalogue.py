"""The registry of tasks. A name with a slash is a hub id of any image-classification dataset."""

import re

from robustbench_wb.registry import Registry
from robustbench_wb.tasks.task import Task

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)

TASKS: Registry[Task] = Registry("task")
TASKS.add(
    "digits",
    "robustbench_wb.tasks.digits:DIGITS",
    "embedded: 8x8 handwritten digits, 1,437 + 360, 10 classes",
)
TASKS.add(
    "fashion-mnist",
    "robustbench_wb.tasks.hub:FASHION_MNIST",
    "28x28 grey clothes, 60,000 + 10,000, 10 classes",
)
TASKS.add("cifar10", "robustbench_wb.tasks.hub:CIFAR10", "32x32 colour objects, 50,000 + 10,000, 10 classes")


def find_task(name: str) -> Task:
    """The registered task, or one made for a hub id (``owner/name``).

    Raises:
        UnknownNameError: neither; the message suggests near names.
    """
    if name not in TASKS and _HUB_ID.fullmatch(name):
        from robustbench_wb.tasks.hub import task_of_hub_id

        return task_of_hub_id(name)
    return TASKS.get(name)
