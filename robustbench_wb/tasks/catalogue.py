"""Registry of tasks.

Others are ``folder:DIR`` (pictures), ``folder-segmentation:DIR`` (pictures and masks), ``texts:PATH`` and hub ids of
image datasets.
"""

import re
from pathlib import Path

from robustbench_wb.errors import UsageError
from robustbench_wb.registry import Registry
from robustbench_wb.tasks.task import Task
from robustbench_wb.text_files import is_file, is_folder

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)

FOLDER = "folder:"
"""Beginning of the name of a task of pictures in a folder."""
MASKS = "folder-segmentation:"
"""Beginning of the name of a task of pictures and their masks in a folder."""
TEXTS = "texts:"
"""Beginning of the name of a task of texts in files."""

TASKS: Registry[Task] = Registry("task")
TASKS.add(
    "digits",
    "robustbench_wb.tasks.digits:DIGITS",
    "embedded: 8x8 handwritten digits, 1,437 + 360, 10 classes",
)
TASKS.add("digits-32", "robustbench_wb.tasks.digits:DIGITS_32", "embedded: the task digits enlarged to 32x32")
TASKS.add(
    "fashion-mnist",
    "robustbench_wb.tasks.hub_images:FASHION_MNIST",
    "28x28 grey clothes, 60,000 + 10,000, 10 classes",
)
TASKS.add("cifar10", "robustbench_wb.tasks.hub_images:CIFAR10", "32x32 colour objects, 50,000 + 10,000, 10 classes")
TASKS.add("sentences", "robustbench_wb.tasks.sentences:SENTENCES", "embedded: generated opinions, 2 classes")
TASKS.add("sentences-lm", "robustbench_wb.tasks.sentences:SENTENCES_LM", "embedded: texts of sentences, next token")
TASKS.add(
    "digits-sequence", "robustbench_wb.tasks.digit_pixels:DIGITS_SEQUENCE", "embedded: digits as 64 pixels in a row"
)
TASKS.add(
    "scattered-digits",
    "robustbench_wb.tasks.scattered_digits:SCATTERED_DIGITS",
    "generated: digits on textured ground, 40x40, a label per pixel, 11 classes",
)
TASKS.add("ade20k", "robustbench_wb.tasks.hub_segmentation:ADE20K", "scenes, a label per pixel, 150 classes")
_TEXT = "robustbench_wb.tasks.hub_text"
TASKS.add("sst2", f"{_TEXT}:SST2", "film review phrases, 67,349 + 872, 2 classes")
TASKS.add("ag_news", f"{_TEXT}:AG_NEWS", "news, 120,000 + 7,600, 4 classes")
TASKS.add("imdb", f"{_TEXT}:IMDB", "film reviews, 25,000 + 25,000, 2 classes")
TASKS.add("imdb-bytes", f"{_TEXT}:IMDB_BYTES", "film reviews byte by byte, 1,024 at most")
TASKS.add("imdb-lm", f"{_TEXT}:IMDB_LM", "film reviews, next token")
TASKS.add("wikitext", f"{_TEXT}:WIKITEXT", "WikiText-2, next token")
TASKS.add("wikitext-103", f"{_TEXT}:WIKITEXT_103", "WikiText-103, next token: 103 million words")

_HERE = "robustbench_wb.tasks"
TASKS.add("listops", f"{_HERE}.listops_task:LISTOPS", "generated: nested operations on digits, 500 to 2,000 symbols")
TASKS.add("listops-1k", f"{_HERE}.listops_task:LISTOPS_1K", "generated: nested operations, 8 to 1,024 symbols")
TASKS.add("listops-256", f"{_HERE}.listops_task:LISTOPS_256", "generated: nested operations, 8 to 256 symbols")
TASKS.add("listops-64", f"{_HERE}.listops_task:LISTOPS_64", "generated: nested operations, 4 to 64 symbols")
TASKS.add("planted-4k", f"{_HERE}.long_planted_facts:PLANTED_4K", "generated: find a fact in up to 4,096 tokens")
TASKS.add("planted-1k", f"{_HERE}.planted_facts_task:PLANTED_1K", "generated: find a fact in up to 1,024 tokens")
TASKS.add("planted-256", f"{_HERE}.planted_facts_task:PLANTED_256", "generated: find a fact in up to 256 tokens")
TASKS.add("planted-64", f"{_HERE}.planted_facts_task:PLANTED_64", "generated: find a fact in up to 64 tokens")
TASKS.add("text-bytes", f"{_TEXT}:TEXT_BYTES", "film reviews byte by byte, 4,096 at most")
TASKS.add("text-bytes-1k", f"{_TEXT}:TEXT_BYTES_1K", "film reviews byte by byte, 1,024 at most")
TASKS.add("text-bytes-256", f"{_TEXT}:TEXT_BYTES_256", "film reviews byte by byte, 256 at most")
TASKS.add("retrieval", f"{_HERE}.document_pairs:RETRIEVAL", "two halves: of one film review? 4,096 bytes each")
TASKS.add("retrieval-1k", f"{_HERE}.document_pairs:RETRIEVAL_1K", "two halves: of one film review? 512 bytes each")
TASKS.add("image-pixels", f"{_HERE}.grey_pixels:IMAGE_PIXELS", "cifar10 in grey as a sequence of 1,024 pixels")
_PATHFINDER = f"{_HERE}.pathfinder_task"
TASKS.add("pathfinder", f"{_PATHFINDER}:PATHFINDER", "generated: do the marked ends belong to one curve? 1,024 pixels")
TASKS.add("pathfinder-easy", f"{_PATHFINDER}:PATHFINDER_EASY", "generated: pathfinder with shorter curves")
TASKS.add("path-x", f"{_PATHFINDER}:PATHX", "generated: pathfinder in 16,384 pixels")
TASKS.add("lra-pathfinder", f"{_PATHFINDER}:LRA_PATHFINDER", "Pathfinder as published: black pixels count as padding")
TASKS.add("lra-path-x", f"{_PATHFINDER}:LRA_PATHX", "Path-X as published: black pixels count as padding")
TASKS.add("lra-listops", f"{_HERE}.listops_task:LRA_LISTOPS", "ListOps as in Long Range Arena")
TASKS.add("lra-text", f"{_TEXT}:LRA_TEXT", "Text as in Long Range Arena: 4,000 bytes, no validation split")
TASKS.add("lra-retrieval", f"{_HERE}.document_pairs:LRA_RETRIEVAL", "Retrieval as in Long Range Arena; bring the texts")
TASKS.add("lra-image", f"{_HERE}.grey_pixels:LRA_IMAGE", "Image as in Long Range Arena: black pixels count as padding")


def find_task(name: str) -> Task:
    """Return the registered task of a name, or a new task for a hub id, ``texts:PATH`` or a folder.

    A folder is ``folder:DIR`` or ``folder-segmentation:DIR``. Options follow the name, like ``;classes=FILE``.

    Raises:
        UnknownNameError: the name is none of these; the message suggests similar names.
        UsageError: the folder does not exist, an option is wrong or not for this task, or the name is the path of
            pictures or of a file.
    """
    if name.startswith(FOLDER):
        from robustbench_wb.tasks.pictures.folder_task import FolderTask

        return FolderTask(name)
    if name.startswith(MASKS):
        from robustbench_wb.tasks.segmentation_folder import SegmentationFolderTask

        return SegmentationFolderTask(name)
    if name.startswith(TEXTS):
        from robustbench_wb.tasks.text_files_task import TextFilesTask

        return TextFilesTask(name)
    own, marked, options = name.partition(";")
    task = TASKS.get(own) if own in TASKS else _unregistered_task(name, own)
    if not marked:
        return task
    from robustbench_wb.tasks.hub_images import HubTask
    from robustbench_wb.tasks.hub_segmentation import HubSegmentationTask

    if not isinstance(task, HubTask | HubSegmentationTask):
        raise UsageError(
            f"task {own!r} takes no {options!r}; only folders of pictures, texts in files and images of the hub do",
            "tasks",
        )
    return task.with_options(name)


def _unregistered_task(name: str, own: str) -> Task:
    """Task of a hub id.

    Raises:
        UnknownNameError: ``own``, the name without its options, is no hub id.
        UsageError: there is a file, or a folder that is not named like a dataset of the hub or has pictures: a path
            without the word that says what is there.
    """
    from robustbench_wb.tasks.hub_images import task_of_hub_id
    from robustbench_wb.tasks.pictures.listing import picture_files

    path, hub_id = Path(own).expanduser(), _HUB_ID.fullmatch(own)
    if is_file(path):
        raise UsageError(f"task {name!r} is a file; write {TEXTS}{name} for texts", "tasks")
    is_place = bool(own.strip("/")) and is_folder(path)
    if is_place and (not hub_id or next(picture_files(path), None) is not None):
        forms = f"{FOLDER}{name} for pictures, {MASKS}{name} for pictures and masks, {TEXTS}{name} for texts"
        raise UsageError(f"task {name!r} is a folder; write {forms}", "tasks")
    return task_of_hub_id(own) if hub_id else TASKS.get(own)


def takes_options(task: Task) -> bool:
    """Whether a task takes options after its name, such as that of the split to evaluate."""
    from robustbench_wb.tasks.hub_images import HubTask
    from robustbench_wb.tasks.hub_segmentation import HubSegmentationTask
    from robustbench_wb.tasks.pictures.folder_task import FolderTask
    from robustbench_wb.tasks.segmentation_folder import SegmentationFolderTask
    from robustbench_wb.tasks.text_files_task import TextFilesTask

    return isinstance(task, FolderTask | HubTask | HubSegmentationTask | SegmentationFolderTask | TextFilesTask)
