"""The evaluated model: its weights, how to build it, and its digests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from robustbench_wb import rng
from robustbench_wb.engine.brought_model import BroughtModel, bring
from robustbench_wb.engine.device import numerics
from robustbench_wb.engine.footprint import measure_footprint
from robustbench_wb.engine.plan import SubjectPlan
from robustbench_wb.engine.time_limit import time_limit
from robustbench_wb.engine.torch_state import seeded_generators
from robustbench_wb.errors import SubjectError
from robustbench_wb.interrupts import OutOfTimeError
from robustbench_wb.models.accepted_module import freeze, refuse_untrainable
from robustbench_wb.models.build import build, variant_code_digest
from robustbench_wb.models.chosen_outputs import TakenOutputs, choose_outputs
from robustbench_wb.models.external import Factory
from robustbench_wb.models.output_check import check_outputs
from robustbench_wb.models.shape import PAD, ImageShape, Shape
from robustbench_wb.models.variant import Variant
from robustbench_wb.models.weights import put_weights, weights_digest, weights_of
from robustbench_wb.progress import Progress
from robustbench_wb.records.record import SubjectCard
from robustbench_wb.spec import digest
from robustbench_wb.tasks.evaluation_dataset import EvaluationDataset
from robustbench_wb.tasks.task import Dataset
from robustbench_wb.training.given_checkpoint import load_given
from robustbench_wb.training.train_or_load import TrainedWeights, TrainingRequest, train_or_load


@dataclass(eq=False, kw_only=True)
class Subject:
    """A trained model that is built only when a cell really has to be measured."""

    card: SubjectCard
    model_code: str
    """Digest of the source of the architecture and all it imports, with its size and input shape."""
    dataset: Dataset
    """The task's data with the token ids of the model's own tokenizer, if it has one."""
    make: Callable[[], nn.Module]
    """Builds the model, see ``model``."""

    @cached_property
    def model(self) -> nn.Module:
        """The model on its device, in eval mode, frozen."""
        return self.make()


@dataclass(frozen=True, eq=False, kw_only=True)
class SubjectRequest:
    """A planned model on the data of a task, and how it is trained if it is not in the cache."""

    plan: SubjectPlan
    dataset: Dataset
    seed: int
    device: torch.device
    label: str
    """Name of the model and its data in progress displays."""
    progress: Progress
    may_train: bool = True
    """False: a model that is not in the cache is an error."""
    deterministic: bool = False
    """Whether it is trained by deterministic algorithms of torch alone."""


def obtain_subject(request: SubjectRequest) -> Subject:
    """Train a model, find it in the cache, or load its checkpoint.

    Raises:
        SubjectError: it cannot be built, does not behave like a classifier, its training diverged, or it is not trained
            yet and ``may_train`` is false.
        CheckpointError: the given checkpoint cannot be used.
    """
    plan, device = request.plan, request.device
    dataset = as_taken(plan, request.dataset)
    shape = dataset.shape
    make = _builder(plan, dataset, seed=request.seed, device=device)
    model_code = _model_code(plan, dataset)
    brought: BroughtModel | None = None
    if isinstance(plan.source, Factory):
        brought = bring(plan.source, make, base=model_code, shape=shape, device=device, seed=request.seed)
        model_code = brought.code
        if plan.recipe.epochs > 0 and plan.checkpoint is None:
            refuse_untrainable(brought.model, plan.name)
    trained = _weights(replace(request, dataset=dataset), make, model_code)
    if brought is not None:
        brought.check_behaviour(trained.tensors, trained.weights, keep=request.may_train)
    if plan.tested is not None:
        tested = replace(plan, source=plan.tested)
        make, model_code = _builder(tested, dataset, seed=request.seed, device=device), _model_code(tested, dataset)
        trained = _with_constants(trained, _constants(make()))

    def ready() -> nn.Module:
        model = make()
        put_weights(model, trained.tensors)
        freeze(model, device)
        check_outputs(model, shape, device)
        return model

    blank = make()
    parameters, cost = sum(p.numel() for p in blank.parameters()), measure_footprint(blank, shape)
    card = SubjectCard(
        parameters=parameters,
        weights=trained.weights,
        train_seconds=trained.seconds,
        trained=trained.fresh,
        flops=cost.flops,
        peak_memory=cost.peak_memory,
    )
    return Subject(card=card, model_code=model_code, dataset=dataset, make=ready)


def _constants(model: nn.Module) -> dict[str, Tensor]:
    """Entries of the state of a model that are numbers of its mechanisms, like ISTA's lambda, and no weights."""
    return {name: tensor for name, tensor in weights_of(model).items() if name.endswith("_extra_state")}


def _with_constants(trained: TrainedWeights, constants: Mapping[str, Tensor]) -> TrainedWeights:
    """Trained weights with other numbers of mechanisms in their state, which is what their digest covers."""
    tensors = {**trained.tensors, **constants}
    return replace(trained, tensors=tensors, weights=weights_digest(tensors))


def _model_code(plan: SubjectPlan, dataset: Dataset) -> str:
    """Digest of the architecture, of the shape that it is built for, and of the outputs that are taken if not all."""
    outputs, shape = _outputs(dataset), _built_shape(dataset)
    source = plan.source
    code = source.code_digest if isinstance(source, Factory) else variant_code_digest(_variant(plan), plan.size, shape)
    parts: dict[str, object] = {"source": code, "size": plan.size, "shape": shape}
    return digest(parts if outputs is None else {**parts, "outputs": outputs})


def _outputs(dataset: Dataset) -> TakenOutputs | None:
    """Outputs of a model that the data take; None: all."""
    return dataset.outputs if isinstance(dataset, EvaluationDataset) else None


def _built_shape(dataset: Dataset) -> Shape:
    """Shape that a model is built for, with all of its outputs."""
    outputs, shape = _outputs(dataset), dataset.shape
    return shape if outputs is None or not isinstance(shape, ImageShape) else outputs.whole(shape)


def _variant(plan: SubjectPlan) -> Variant:
    if not isinstance(plan.source, Variant):  # a shortcut is fitted elsewhere
        raise TypeError(f"{plan.name} is neither a variant nor a factory")
    return plan.source


def as_taken(plan: SubjectPlan, dataset: Dataset) -> Dataset:
    """The data in the form that a model takes: a text model with a tokenizer of its own gets its own token ids.

    Raises:
        SubjectError: it has a tokenizer, and the task has no whole texts: language modelling, or pixels in a row.
    """
    if not isinstance(plan.source, Factory) or plan.source.tokenizer is None or isinstance(dataset.shape, ImageShape):
        return dataset
    if not dataset.test.texts:
        raise SubjectError(f"{plan.name} has a tokenizer of its own, and task {dataset.label!r} has no texts for it")
    tokenizer, length = plan.source.tokenizer(), dataset.shape.length
    splits = (dataset.train, dataset.test)
    # Lengths of the texts in these tokens are not counted.
    train, test = (
        replace(part, inputs=tokenizer.encode(part.texts, length), token_counts=None) if len(part) else part
        for part in splits
    )
    every = [part.inputs for part in (train, test) if len(part)]
    ids = 1 + max(int(tokens.max()) for tokens in every)
    longest = max(int((tokens != PAD).sum(1).max()) for tokens in every)  # the model may have places for fewer
    shape = dataset.shape.model_copy(update={"vocabulary": ids, "length": longest})
    return replace(dataset, train=train, test=test, shape=shape, tokenizer=tokenizer)


def _builder(plan: SubjectPlan, dataset: Dataset, *, seed: int, device: torch.device) -> Callable[[], nn.Module]:
    """A function that builds the untrained model, the same one each time, with the outputs that the data take.

    It may draw weights on the device.
    """
    shape, outputs = _built_shape(dataset), _outputs(dataset)
    make: Callable[[], nn.Module]
    if isinstance(plan.source, Factory):
        make = partial(_from_factory, plan.source, shape, plan=plan, seed=seed, device=device)
    else:
        mean, std = _moments(dataset, shape)
        make = partial(build, _variant(plan), plan.size, shape, mean=mean, std=std, seed=seed)
    return make if outputs is None else lambda: choose_outputs(make(), outputs)


def _moments(dataset: Dataset, shape: Shape) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of the training split; 0.5 and 0.25 if it has no samples."""
    if not isinstance(shape, ImageShape):
        return [], []
    return dataset.train.moments() if len(dataset.train) else ([0.5] * shape.channels, [0.25] * shape.channels)


def _from_factory(factory: Factory, shape: Shape, *, plan: SubjectPlan, seed: int, device: torch.device) -> nn.Module:
    """Build a user's model. Its random initialisation is drawn from generators of its own."""
    try:
        with seeded_generators(rng.stream_key(seed, "factory-init"), device), time_limit(plan.timeout):
            return factory(shape)
    except OutOfTimeError as error:
        raise SubjectError(f"{factory.reference}: {error}") from error


def untrained(plan: SubjectPlan, dataset: Dataset, seed: int) -> nn.Module:
    """Build a model on the CPU, with the weights of its checkpoint if it has one; it is not trained and not probed.

    Raises:
        SubjectError: it cannot be built.
        CheckpointError: the given checkpoint cannot be used.
    """
    evaluated = plan if plan.tested is None else replace(plan, source=plan.tested)
    model = _builder(evaluated, dataset, seed=seed, device=torch.device("cpu"))()
    if plan.checkpoint is not None:
        constants = {} if plan.tested is None else _constants(model)
        load_given(model, plan.checkpoint)
        put_weights(model, {**weights_of(model), **constants})
    return model


def _weights(request: SubjectRequest, make: Callable[[], nn.Module], model_code: str) -> TrainedWeights:
    plan = request.plan
    if plan.checkpoint is not None:
        model = make()
        load_given(model, plan.checkpoint)
        tensors = weights_of(model)
        return TrainedWeights(tensors=tensors, weights=weights_digest(tensors), seconds=0.0, fresh=False)
    return train_or_load(
        TrainingRequest(
            build=make,
            model_code=model_code,
            recipe=plan.recipe,
            seed=request.seed,
            split=request.dataset.train,
            device=request.device,
            numerics=numerics(request.device, deterministic=request.deterministic),
            label=request.label,
            progress=request.progress,
            may_train=request.may_train,
        )
    )
