"""Provider ``timm:NAME``: models of timm by name, from a ``save_for_hf`` folder, or as ``hf-hub:owner/name``."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from robustbench_wb.errors import SubjectError, UnknownNameError, UsageError, first_line
from robustbench_wb.models.providers import library
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.models.shape import ImageShape, Shape
from robustbench_wb.registry import suggest_names
from robustbench_wb.source import code_digest
from robustbench_wb.spec import digest


def provide(name: str, options: Mapping[str, str], trained: bool) -> Factory:
    """Return the factory of one model; with ``pretrained=false`` it builds the architecture with random weights.

    Raises:
        UsageError: the library is not installed, the model does not exist, or it has no pretrained weights.
    """
    timm = library.load_library("timm", "timm")
    reference = f"timm:{name}"
    pretrained = library.flag(reference, options, "pretrained", default=True)
    folder = Path(name.removeprefix("local-dir:")).expanduser()
    if folder.is_dir() and not timm.is_model(name):
        library.check_folder(folder, reference, pretrained)
        name, source = f"local-dir:{folder.resolve()}", library.folder_digest(folder)
    else:
        name, source = _named(timm, name, pretrained)
    config = _config(timm, name, reference)
    identity = {
        "code": code_digest(__name__),
        "library": library.release("timm"),
        "source": source,
        "pretrained": pretrained,
        "config": {key: str(value) for key, value in sorted(config.items()) if key != "file"},
    }

    def make(shape: Shape) -> object:
        return _make(timm, name=name, config=config, shape=shape, pretrained=pretrained, trained=trained)

    return Factory(
        reference=";".join([reference, *(f"{k}={v}" for k, v in options.items())]),
        code_digest=digest(identity),
        make=make,
    )


def _named(timm: ModuleType, name: str, pretrained: bool) -> tuple[str, str]:
    """Name of the model for the library, and name for the digest."""
    if "/" in name:  # names of timm's own models have no slash, so this is a repository on the hub
        return (name if name.startswith("hf-hub:") else f"hf-hub:{name}"), name
    if not timm.is_model(name.partition(".")[0]):
        raise UnknownNameError(f"timm has no model {name!r}; {_near(name, timm.list_models())}")
    config = timm.get_pretrained_cfg(name)
    if pretrained and not (config is not None and config.has_weights):
        raise UsageError(f"timm has no weights for {name!r}; write 'timm:{name};pretrained=false' for random weights")
    return name, name


def _near(name: str, models: list[str]) -> str:
    tail = suggest_names(name, models)
    return tail if tail.startswith("did you mean") else "`timm.list_models()` lists all names"


def _config(timm: ModuleType, name: str, reference: str) -> dict[str, Any]:
    """Pretraining configuration of the model; for a repository on the hub this downloads a small file."""
    try:
        if not name.startswith(("local-dir:", "hf-hub:")):
            found = timm.get_pretrained_cfg(name)
            return dict(found.to_dict()) if found is not None else {}
        return dict(timm.models.resolve_model_input_args(name)["pretrained_cfg"])
    except Exception as error:
        raise UsageError(f"{reference} cannot be loaded: {first_line(error)}") from error


def _make(
    timm: ModuleType, *, name: str, config: Mapping[str, Any], shape: Shape, pretrained: bool, trained: bool
) -> object:
    from robustbench_wb.models.providers.image_model import ImageModel, Preprocessing

    if not isinstance(shape, ImageShape):
        raise SubjectError("models of timm take images, but the task has none")
    own = config.get("num_classes")
    fresh = pretrained and own != shape.classes
    if fresh and not trained:
        raise SubjectError(
            f"the model has {own} classes, but the task has {shape.classes}; "
            "name a training recipe, which adds a new head"
        )
    other = {} if own == shape.classes else {"num_classes": shape.classes}
    try:
        model = timm.create_model(name, pretrained=pretrained, **other)
    except Exception as error:
        raise SubjectError(f"timm cannot build {name}: {first_line(error)}") from error
    data = timm.data.resolve_model_data_config(model)
    size = data["input_size"]
    preprocessing = Preprocessing(
        height=size[1],
        width=size[2],
        mean=list(data["mean"]),
        std=list(data["std"]),
        interpolation=data["interpolation"],
    )
    return ImageModel(model.float(), shape, preprocessing, fresh_head=fresh)
