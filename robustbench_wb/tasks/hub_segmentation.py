"""Segmentation tasks from the hub or from a local mirror in hub layout: rows of an image and an image of its mask."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from robustbench_wb.errors import DataError
from robustbench_wb.folders import write_atomic
from robustbench_wb.tasks.array_cache import load_or_make_arrays, write_array
from robustbench_wb.tasks.dataset_source import locate_dataset
from robustbench_wb.tasks.image_decoding import decoded_rows
from robustbench_wb.tasks.mask_decoding import MaskFormat
from robustbench_wb.tasks.mirror import followed_mirror
from robustbench_wb.tasks.pictures.decode import decoder_release
from robustbench_wb.tasks.pictures.task_options import parse_options
from robustbench_wb.tasks.read_splits import read_splits
from robustbench_wb.tasks.segmentation import SegmentationDataset, load_split, write_images
from robustbench_wb.tasks.segmentation_folder import MASK_OPTIONS, mask_format
from robustbench_wb.tasks.task import Split

if TYPE_CHECKING:
    from datasets import Dataset as HubRows
    from datasets import DatasetDict

_FORMAT: Final = 1  # of the decoded arrays; raise it when decoding changes
_COLUMNS: Final = ("image", "annotation")


class HubSegmentationTask:
    """Segmentation task of a dataset with the columns ``image`` and ``annotation`` (a number per pixel).

    Models are trained on the split ``train`` and evaluated on ``validation``. Options follow the name: ``;size=128``
    (side to which images and masks are scaled).

    Args:
        name: name of the task.
        source: hub id of the dataset.
        config: configuration of the dataset on the hub.
        classes: number of classes.
        masks: how masks are read, unless options say otherwise.
        options: options by name.
    """

    suite = "adversarial-segmentation"

    def __init__(
        self,
        name: str,
        *,
        source: str,
        config: str | None,
        classes: int,
        masks: MaskFormat,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.like, self.source, self.config, self.classes = name, source, config, classes
        self.options = dict(options or {})
        self.name = ";".join([name, *(f"{key}={value}" for key, value in self.options.items())])
        self.masks = mask_format(self.name, self.options, masks)

    def with_options(self, name: str) -> "HubSegmentationTask":
        """Return the task with the options that follow its name.

        Raises:
            UsageError: an option is wrong.
        """
        options = parse_options(name, MASK_OPTIONS)[1]
        return HubSegmentationTask(
            self.like,
            source=self.source,
            config=self.config,
            classes=self.classes,
            masks=self.masks,
            options=options,
        )

    def load(self, data_dir: str | None) -> SegmentationDataset:
        """Load from ``data_dir/OWNER/NAME`` or ``data_dir/NAME`` if it exists, else from the hub or its local cache.

        Raises:
            DataError: the data cannot be had, or a mask has numbers beyond the classes.
        """
        with followed_mirror(self.source, data_dir) as mirror:
            found = locate_dataset(self.source, mirror, self.config)
            train, test = load_or_make_arrays(
                {"format": _FORMAT, "source": found.digest, "masks": self.masks, "decoder": decoder_release()},
                name=self.name,
                verb="decode",
                fill=lambda folder: self._fill(folder, read_splits(found)),
                read=_read,
            )
        return SegmentationDataset(
            label=self.name,
            classes=tuple(str(number) for number in range(1, self.classes + 1)),
            train=train,
            test=test,
            shape=self.masks.shape(self.classes),
        )

    def _fill(self, folder: Path, source: "DatasetDict") -> dict[str, int]:
        """Decode both splits into a folder.

        Raises:
            DataError: a split or a column is missing, or a picture cannot be decoded.
        """
        for split, target in (("train", "train"), ("validation", "test")):
            if split not in source or not set(_COLUMNS) <= set(source[split].column_names):
                raise DataError(f"{self.name} needs the splits train and validation with columns image and annotation")
            self._write(folder, target, source[split])
        return {"pictures": len(source["train"]) + len(source["validation"])}

    def _write(self, folder: Path, target: str, rows: "HubRows") -> None:
        images = decoded_rows(rows, _COLUMNS[0], self.name, decode=self.masks.image)
        write_atomic(
            folder / f"{target}-images.npy",
            lambda path: write_images(path, images, count=len(rows), size=self.masks.size),
        )
        # Rows are what the function returns, whatever their type; its module is part of the identity of corruptions.
        decode = cast("Callable[[Image.Image], NDArray[np.uint8]]", self.masks.mask)
        masks = [mask.astype(np.int16) for mask in decoded_rows(rows, _COLUMNS[1], self.name, decode=decode)]
        write_array(folder / f"{target}-masks.npy", np.stack(masks))


def _read(folder: Path, card: object) -> tuple[Split, Split]:
    return load_split(folder, "train-"), load_split(folder, "test-")


ADE20K = HubSegmentationTask(
    "ade20k",
    source="zhoubolei/scene_parse_150",
    config="scene_parsing",
    classes=150,
    masks=MaskFormat(size=128, zero_is_void=True),
)
