"""Provider ``hf:NAME``: image and text classifiers of transformers, from the hub or a ``save_pretrained`` folder.

Code from the hub is never run, and weights are read from safetensors only.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from robustbench_wb.errors import SubjectError, UsageError, first_line
from robustbench_wb.models.providers import library
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.models.providers.image_model import ImageModel, Preprocessing
from robustbench_wb.models.providers.text_model import ModelTokenizer, TextModel
from robustbench_wb.models.shape import ImageShape, Shape
from robustbench_wb.source import code_digest
from robustbench_wb.spec import digest

_RESAMPLING = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}
"""Interpolation modes by Pillow's numbers, which the library's configurations use."""


def provide(name: str, options: Mapping[str, str], trained: bool) -> Factory:
    """Return the factory of one model; with ``pretrained=false`` it builds the architecture with random weights.

    Raises:
        UsageError: the library is not installed, the model does not exist, or it is stored as a pickle.
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
    # A commit on the hub, or all files of a folder except weights, including tokenizer and preprocessing.
    source = library.folder_digest(folder) if folder.is_dir() else f"{name}@{getattr(config, '_commit_hash', None)}"
    identity = {
        "code": code_digest(__name__),
        "library": library.release("transformers"),
        "tokenizers": library.release("tokenizers"),
        "source": source,
        "pretrained": pretrained,
        "config": config.to_json_string(use_diff=False).replace(name, ""),
    }
    model = _Model(transformers=transformers, name=name, config=config, pretrained=pretrained, trained=trained)
    written = ";".join([reference, *(f"{key}={value}" for key, value in options.items())])
    return Factory(reference=written, code_digest=digest(identity), make=model.make, tokenizer=model.encoder)


class _Model:
    """Loader of one model of the library; every call loads it anew."""

    def __init__(self, *, transformers: ModuleType, name: str, config: Any, pretrained: bool, trained: bool) -> None:
        self.transformers, self.name, self.config = transformers, name, config
        self.pretrained, self.trained = pretrained, trained

    def make(self, shape: Shape) -> object:
        """Load the model in float32 for a task's inputs and classes."""
        if isinstance(shape, ImageShape):
            model, fresh = self._load("AutoModelForImageClassification", shape.classes)
            return ImageModel(model, shape, self.preprocessing(), fresh_head=fresh)
        if shape.causal:
            raise SubjectError("hf: provides classifiers, but the task is language modelling")
        model, fresh = self._load("AutoModelForSequenceClassification", shape.classes)
        return TextModel(model, self.encoder(), fresh)

    def encoder(self) -> ModelTokenizer:
        """Load the model's own tokenizer.

        Raises:
            SubjectError: the tokenizer cannot be loaded, is missing, or has more tokens than the model.
        """
        with _quiet(self.transformers):
            try:
                tokenizer = self.transformers.AutoTokenizer.from_pretrained(self.name, trust_remote_code=False)
            except Exception as error:
                reason = first_line(error)
                raise SubjectError(f"the tokenizer of {self.name} cannot be loaded: {reason}") from error
        # Without tokenizer files the library silently creates an empty tokenizer.
        if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
            raise SubjectError(f"{self.name} has no tokenizer; save the tokenizer into the same folder")
        if len(tokenizer) > self.config.vocab_size:
            raise SubjectError(
                f"the tokenizer of {self.name} has {len(tokenizer)} tokens, but its model only {self.config.vocab_size}"
            )
        return ModelTokenizer(tokenizer, getattr(self.config, "max_position_embeddings", None))

    def preprocessing(self) -> Preprocessing:
        """Determine the normalisation of the library's image processor from its outputs: a scale and shift per channel.

        Raises:
            SubjectError: there is no image processor, or it does more than resize and normalise.
        """
        with _quiet(self.transformers):
            try:
                processor = self.transformers.AutoImageProcessor.from_pretrained(
                    self.name, backend="pil", trust_remote_code=False
                )
            except Exception as error:
                reason = first_line(error)
                raise SubjectError(f"the image processor of {self.name} cannot be loaded: {reason}") from error
            # Resizing and cropping keep uniform images uniform, so only the normalisation changes them.
            black, white, grey = (self._processed(processor, level) for level in (0, 255, 51))
        scale, shift = white[:, 0, 0] - black[:, 0, 0], black[:, 0, 0]
        if float(np.abs(grey - (shift + scale * 0.2)[:, None, None]).max()) > 1e-4 or float(scale.min()) <= 0:
            raise SubjectError(f"the image processor of {self.name} does more than resize and normalise")
        resample = int(getattr(processor, "resample", 2))
        if resample not in _RESAMPLING:
            raise SubjectError(
                f"the image processor of {self.name} resizes with method {resample}; supported: 0, 2 and 3"
            )
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
        """Load the model; return it and whether its head is untrained."""
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
            raise SubjectError(f"{saved}; name a training recipe, which adds a new head")
        return model, bool(new)


@contextmanager
def _quiet(transformers: ModuleType) -> Iterator[None]:
    """Silence the library's log messages and progress bars inside this context."""
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
