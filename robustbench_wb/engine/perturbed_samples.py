"""Perturbed inputs of single samples, made again with the same code path as the run that measured them."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from robustbench_wb.engine.measure import BatchObserver
from robustbench_wb.engine.remeasure import remeasure
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.models.segmentation_shape import SegmentationShape
from robustbench_wb.progress import Progress
from robustbench_wb.records.names import Slot
from robustbench_wb.records.perturbed_sample import PerturbedSample, PerturbedSamples, SampleSelection
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import PerturbedBatch, SampleBatch


def remake_samples(
    requests: Iterable[RunRequest],
    wanted: Sequence[SampleSelection],
    progress: Progress,
    withheld: Mapping[str, str] = MappingProxyType({}),
) -> PerturbedSamples:
    """Perturb the wanted samples again. Attacks that move word vectors have no perturbed inputs to show.

    Args:
        requests: requests that may have made the cells.
        wanted: broken samples of classification cells, each cell in a slot of its own.
        progress: receives progress.
        withheld: reasons why models are not in the requests, by name.
    """
    samples: dict[Slot, dict[int, PerturbedSample]] = {one.slot: {} for one in wanted}

    def watch(slot: Slot) -> BatchObserver:
        def keep(batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess) -> float:
            if perturbed.vectors is None:
                samples[slot] |= _labelled(batch, perturbed, access)
            return 0.0

        return keep

    outcomes = remeasure(requests, wanted, progress, watch=watch)
    outcomes.explain(withheld)
    return PerturbedSamples(samples, outcomes.refused)


def _labelled(batch: SampleBatch, perturbed: PerturbedBatch, access: ModelAccess) -> dict[int, PerturbedSample]:
    """Perturbed samples of a batch with the model's predictions, by sample id."""
    answers = access.predict(perturbed.inputs).argmax(1).cpu()
    images = [image.cpu().numpy() for image in perturbed.inputs]
    if isinstance(batch.shape, SegmentationShape):
        masks = zip(batch.ids.tolist(), images, answers.numpy(), strict=True)
        return {sample: PerturbedSample(inputs=image, mask=mask) for sample, image, mask in masks}
    texts: Sequence[str | None] = perturbed.texts or [None] * len(answers)
    rows = zip(batch.ids.tolist(), images, texts, answers.tolist(), strict=True)
    return {sample: PerturbedSample(inputs=image, text=text, answer=answer) for sample, image, text, answer in rows}
