"""Options of a task whose images are in one array: the rows that are evaluated, and the outputs that labels mean."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from robustbench_wb.errors import DataError
from robustbench_wb.models.chosen_outputs import TakenOutputs
from robustbench_wb.tasks.evaluation_dataset import EvaluationDataset
from robustbench_wb.tasks.pictures.class_map import ClassMap, listed_classes, read_class_map, read_merged_classes
from robustbench_wb.tasks.pictures.task_options import MERGED, read_ids
from robustbench_wb.tasks.task import Split


def with_selection(dataset: EvaluationDataset, options: Mapping[str, str]) -> EvaluationDataset:
    """Apply ``classes``, ``outputs`` and ``ids`` to a dataset; its classes are the labels that a class list names.

    With ``outputs`` there is nothing to train on.

    Raises:
        DataError: a file cannot be read, a class is not in it, or a row does not exist.
    """
    own, where, train = dataset.classes, dataset.label, dataset.train
    found = dataset
    if options.keys() & {"classes", "outputs"}:
        reference = options.get("classes")
        outputs: TakenOutputs | None = None
        used = [own[label] for label in np.unique(dataset.test.labels)]
        if reference is not None and options.get("outputs") == MERGED:
            classes, outputs = read_merged_classes(reference, used)
        else:
            classes = _in_order(own, where) if reference is None else read_class_map(reference, own)
            if "outputs" in options:
                classes, outputs = classes.present(used, where)
        if outputs is not None:
            train = dataset.test.select_rows(slice(0))
        found = replace(
            dataset,
            label=where + ("" if outputs is None else outputs.text),
            classes=classes.names,
            train=_relabelled(train, classes, own=own, where=where),
            test=_relabelled(dataset.test, classes, own=own, where=where),
            shape=dataset.shape.model_copy(update={"classes": len(classes.names)}),
            outputs=outputs,
        )
    rows = _rows(options["ids"], len(found.test)) if "ids" in options else None
    return found if rows is None else replace(found, test=_taken(found.test, rows))


def _in_order(names: tuple[str, ...], where: str) -> ClassMap:
    """The classes as they are numbered.

    Raises:
        DataError: a name occurs twice.
    """
    try:
        return listed_classes(names)
    except ValueError as error:
        raise DataError(f"the classes of {where} cannot be told apart: {error}") from error


def _relabelled(split: Split, classes: ClassMap, *, own: tuple[str, ...], where: str) -> Split:
    used, numbers = np.unique(split.labels), np.zeros(len(own), np.int64)
    numbers[used] = classes.numbers([own[label] for label in used], where)
    return replace(split, labels=numbers[split.labels])


def _taken(split: Split, rows: NDArray[np.int64]) -> Split:
    return replace(split, inputs=split.inputs[rows], labels=split.labels[rows])


def _rows(reference: str, count: int) -> NDArray[np.int64]:
    """Rows that a file of ids names, ascending.

    Raises:
        DataError: the file cannot be read, or a line is no number of a row.
    """
    lines = read_ids(reference)
    for line in lines:
        if not line.isdecimal() or int(line) >= count:
            raise DataError(f"ids {reference} names {line}; the images are numbered 0 to {count - 1}", "ids")
    return np.unique(np.array([int(line) for line in lines], np.int64))
