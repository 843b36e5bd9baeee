"""The registry of tasks. A name with a slash is a hub id of any image-classification dataset."""

from robustbench_wb.registry import Registry
from robustbench_wb.tasks.task import Task, TaskFacts

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
    if name not in TASKS and name.count("/") == 1 and all(name.split("/")):
        from robustbench_wb.tasks.hub import HubTask

        return HubTask(TaskFacts(name=name, summary="image classification from the hub", source=name))
    return TASKS.get(name)
