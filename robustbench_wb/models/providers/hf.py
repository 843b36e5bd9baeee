"""``hf:NAME``: an image or text classifier of transformers, from the hub or from a folder of ``save_pretrained``.

Code from the hub is never run, and weights are read from safetensors only.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robustbench_wb.errors import SubjectError, UsageError, first_line
from robustbench_wb.models.providers import library
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.models.providers.pictures import Pictures, Preprocessing
from robustbench_wb.models.providers.texts import Encoder, Texts
from robustbench_wb.models.shape import ImageShape, Shape
from robustbench_wb.source import code_digest
from robustbench_wb.spec import digest

_RESAMPLING = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which the library's configurations hold."""


def provide(name: str, options: Mapping[str, str], trained: bool) -> Factory:
    """A factory for one model. With ``pretrained=false`` only its configuration is taken.

    Raises:
        UsageError: the library is missing, there is no such model, or it is stored as a pickle.
    """
    transformers = library.load_library("transformers", "hf")
    reference = f"hf:{name}"
    pretrained = library.flag(reference, options, "pretrained", default=True)
    folder = Path(name).expanduser()
    if folder.is_dir():
        library.check_folder(folder, reference, pretrained)
        name = str(folder.resolve())
    try:
        with _quiet(transformers):
            config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
    except Exception as error:
        raise UsageError(f"{reference} cannot be loaded: {first_line(error)}") from error
    # A commit of the hub, or every small file of a folder: tokenizer and preprocessing are among them.
    source = library.folder_digest(folder) if folder.is_dir() else f"{name}@{getattr(config, '_commit_hash', None)}"
    identity = {
        "code": code_digest(__name__),
        "library": library.release("transformers"),
        "tokenizers": library.release("tokenizers"),
        "source": source,
        "pretrained": pretrained,
        "config": config.to_json_string(use_diff=False).replace(name, ""),
    }
    model = _Model(transformers, name, config, pretrained, trained)
    written = ";".join([reference, *(f"{key}={value}" for key, value in options.items())])
    return Factory(written, digest(identity), model.make, model.encoder)


class _Model:
    """One model of the library, loaded as often as it is asked for."""

    def __init__(self, transformers: Any, name: str, config: Any, pretrained: bool, trained: bool) -> None:
        self.transformers, self.name, self.config = transformers, name, config
        self.pretrained, self.trained = pretrained, trained

    def make(self, shape: Shape) -> object:
        """The model in float32 for a task's inputs and classes."""
        if isinstance(shape, ImageShape):
            model, fresh = self._load("AutoModelForImageClassification", shape.classes)
            return Pictures(model, shape, self.preprocessing(), fresh)
        if shape.causal:
            raise SubjectError("hf: takes classifiers, and the task is language modelling")
        model, fresh = self._load("AutoModelForSequenceClassification", shape.classes)
        return Texts(model, self.encoder(), fresh)

    def encoder(self) -> Encoder:
        """The model's own tokenizer."""
        with _quiet(self.transformers):
            try:
                tokenizer = self.transformers.AutoTokenizer.from_pretrained(self.name, trust_remote_code=False)
            except Exception as error:
                reason = first_line(error)
                raise SubjectError(f"the tokenizer of {self.name} cannot be loaded: {reason}") from error
        # Without its files the library makes an empty one, silently.
        if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
            raise SubjectError(f"{self.name} has no tokenizer; save the tokenizer into the same folder")
        if len(tokenizer) > self.config.vocab_size:
            raise SubjectError(
                f"the tokenizer of {self.name} knows {len(tokenizer)} tokens, its model {self.config.vocab_size}"
            )
        return Encoder(tokenizer, getattr(self.config, "max_position_embeddings", None))

    def preprocessing(self) -> Preprocessing:
        """What the library's own image processor does, found out by asking it: a scale and a shift per channel.

        Raises:
            SubjectError: there is no processor, or it does something else than resize and normalise.
        """
        with _quiet(self.transformers):
            try:
                processor = self.transformers.AutoImageProcessor.from_pretrained(
                    self.name, backend="pil", trust_remote_code=False
                )
            except Exception as error:
                reason = first_line(error)
                raise SubjectError(f"the image processor of {self.name} cannot be loaded: {reason}") from error
            # Plain colours stay plain when resized and cropped, so only the scaling shows.
            black, white, grey = (self._processed(processor, level) for level in (0, 255, 51))
        scale, shift = white[:, 0, 0] - black[:, 0, 0], black[:, 0, 0]
        if float(np.abs(grey - (shift + scale * 0.2)[:, None, None]).max()) > 1e-4 or float(scale.min()) <= 0:
            raise SubjectError(f"the image processor of {self.name} does more than resize and normalise")
        resample = int(getattr(processor, "resample", 2))
        if resample not in _RESAMPLING:
            raise SubjectError(f"the image processor of {self.name} resizes by method {resample}; known: 0, 2 and 3")
        return Preprocessing(
            height=black.shape[1],
            width=black.shape[2],
            mean=(-shift / scale).tolist(),
            std=(1 / scale).tolist(),
            interpolation=_RESAMPLING[resample],
        )

    @staticmethod
    def _processed(processor: Any, level: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        image = np.full((32, 32, 3), level, np.uint8)
        return np.asarray(processor(image, return_tensors="np")["pixel_values"][0], np.float64)

    def _load(self, kind: str, classes: int) -> tuple[Any, bool]:
        """The model and whether its head is new."""
        loader = getattr(self.transformers, kind)
        with _quiet(self.transformers):
            try:
                if not self.pretrained:
                    config = self.transformers.AutoConfig.from_pretrained(self.name, num_labels=classes)
                    return loader.from_config(config).float(), False
                model, report = loader.from_pretrained(
                    self.name,
                    num_labels=classes,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                    dtype=torch.float32,
                    use_safetensors=True,
                    trust_remote_code=False,
                )
            except Exception as error:
                raise SubjectError(f"{self.name} cannot be loaded: {first_line(error)}") from error
        new = sorted({*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])})
        if new and not self.trained:
            saved = f"{self.name} has no trained {new[0]} for {classes} classes (saved with {self.config.num_labels})"
            raise SubjectError(f"{saved}; train it by a recipe, which gives it a new head")
        return model, bool(new)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the library's reports and bars; its settings are put back."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
