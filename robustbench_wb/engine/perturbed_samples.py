"""Perturbed inputs of single samples, made again with the same code path as the run that measured them."""

from collections.abc import Iterable, Sequence

from robustbench_wb.engine.remeasure import remeasure
from robustbench_wb.engine.request import RunRequest
from robustbench_wb.progress import Progress
from robustbench_wb.records.names import Slot
from robustbench_wb.records.perturbed_sample import PerturbedSample, PerturbedSamples, SampleSelection
from robustbench_wb.stressors.stressor import PerturbedBatch, SampleBatch, predict


def remake_samples(
    requests: Iterable[RunRequest], wanted: Sequence[SampleSelection], progress: Progress
) -> PerturbedSamples:
    """Perturb the wanted samples again. Attacks that move word vectors have no perturbed inputs to show.

    Args:
        requests: requests that may have made the cells.
        wanted: broken samples of classification cells, each cell in a slot of its own.
        progress: receives progress.
    """
    samples: dict[Slot, dict[int, PerturbedSample]] = {one.slot: {} for one in wanted}

    def watch(slot: Slot, job: SampleBatch, stressed: PerturbedBatch) -> None:
        if stressed.vectors is not None:
            return
        answers = predict(job.model, stressed.inputs, job.batch, draws=job.draws).argmax(1).tolist()
        texts: Sequence[str | None] = stressed.texts or [None] * len(answers)
        for sample, image, text, answer in zip(job.ids.tolist(), stressed.inputs, texts, answers, strict=True):
            samples[slot][sample] = PerturbedSample(image.cpu().numpy(), text, answer)

    outcomes = remeasure(requests, wanted, progress, watch=watch)
    return PerturbedSamples(samples, outcomes.refused)
