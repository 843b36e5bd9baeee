"""``timm:NAME``: a model of timm by name, from a folder written by ``save_for_hf``, or ``hf-hub:owner/name``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robustbench_wb.errors import SubjectError, UnknownNameError, UsageError, first_line
from robustbench_wb.models.providers import library
from robustbench_wb.models.providers.factory import Factory
from robustbench_wb.models.shape import ImageShape, Shape
from robustbench_wb.registry import suggest
from robustbench_wb.source import code_digest
from robustbench_wb.spec import digest


def provide(name: str, options: Mapping[str, str], trained: bool) -> Factory:
    """A factory for one model of the library. With ``pretrained=false`` only its architecture is taken.

    Raises:
        UsageError: the library is missing, has no such model, or the model has no weights to load.
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
        return _make(timm, name, config, shape, pretrained, trained)

    return Factory(";".join([reference, *(f"{k}={v}" for k, v in options.items())]), digest(identity), make)


def _named(timm: Any, name: str, pretrained: bool) -> tuple[str, str]:
    """The name as the library wants it, and as it is digested."""
    if "/" in name:  # no model of the library has one: it is a repository of the hub
        return (name if name.startswith("hf-hub:") else f"hf-hub:{name}"), name
    if not timm.is_model(name.partition(".")[0]):
        raise UnknownNameError(f"timm has no model {name!r}; {_near(name, timm.list_models())}")
    config = timm.get_pretrained_cfg(name)
    if pretrained and not (config is not None and config.has_weights):
        raise UsageError(f"timm has no weights for {name!r}; write 'timm:{name};pretrained=false' for the bare model")
    return name, name


def _near(name: str, models: list[str]) -> str:
    tail = suggest(name, models)
    return tail if tail.startswith("did you mean") else "`timm.list_models()` names them all"


def _config(timm: Any, name: str, reference: str) -> dict[str, Any]:
    """What the model was trained on. Downloads a small file for a repository of the hub."""
    try:
        if not name.startswith(("local-dir:", "hf-hub:")):
            found = timm.get_pretrained_cfg(name)
            return dict(found.to_dict()) if found is not None else {}
        return dict(timm.models.resolve_model_input_args(name)["pretrained_cfg"])
    except Exception as error:
        raise UsageError(f"{reference} cannot be loaded: {first_line(error)}") from error


def _make(timm: Any, name: str, config: Mapping[str, Any], shape: Shape, pretrained: bool, trained: bool) -> object:
    from robustbench_wb.models.providers.pictures import Pictures, Preprocessing

    if not isinstance(shape, ImageShape):
        raise SubjectError("models of timm take images, and the task has none")
    own = config.get("num_classes")
    fresh = pretrained and own != shape.classes
    if fresh and not trained:
        raise SubjectError(
            f"the model has {own} classes and the task {shape.classes}; train it by a recipe, which gives it a new head"
        )
    other = {} if own == shape.classes else {"num_classes": shape.classes}
    try:
        model = timm.create_model(name, pretrained=pretrained, **other)
    except Exception as error:
        raise SubjectError(f"timm cannot make {name}: {first_line(error)}") from error
    data = timm.data.resolve_model_data_config(model)
    size = data["input_size"]
    preprocessing = Preprocessing(size[1], size[2], list(data["mean"]), list(data["std"]), data["interpolation"])
    return Pictures(model.float(), shape, preprocessing, fresh)
