"""Black-box attack in balls of word vectors. It uses logits only, so a misleading gradient cannot stop it."""

import torch
from torch import Tensor

from robustbench_wb import rng
from robustbench_wb.models.batching import batches
from robustbench_wb.models.word_embeddings import WordEmbeddings
from robustbench_wb.stressors.attacks.attack_losses import margin
from robustbench_wb.stressors.model_access import ModelAccess
from robustbench_wb.stressors.sample_batch import SampleBatch
from robustbench_wb.stressors.text_attacks.embedding import word_deviation, word_vectors
from robustbench_wb.stressors.token_ids import token_ids_of
from robustbench_wb.stressors.unit_choice import MASK_63_BITS


@torch.no_grad()
def word_walk(batch: SampleBatch, access: ModelAccess, *, eps: float, queries: int) -> Tensor:
    """Attack by random search: move one word at a time to the corner of its ball that is nearest to another word.

    The search follows the Square attack (Andriushchenko et al. 2020, arXiv 1912.00049): a word and a goal are drawn,
    and the step is kept if the margin loss grows.

    Args:
        batch: samples to attack.
        access: the model.
        eps: Linf radius of the balls in standard deviations of the word-embedding table.
        queries: largest number of forward passes per sample.

    Returns:
        Whether each sample is broken, bool (N,).
    """
    table, ids = WordEmbeddings(access.model), token_ids_of(batch)
    real = ids.ordinary(batch.inputs)
    radius = eps * word_deviation(table, ids, batch.inputs.device)
    goals = word_vectors(table, ids, batch.inputs.device)
    clean = table.vectors(batch.inputs)
    best, count = clean.clone(), real.sum(1)
    places = real.int().argsort(stable=True, dim=1, descending=True)  # columns of the words come first
    height = torch.full(batch.ids.shape, -torch.inf, device=batch.inputs.device)
    broken = torch.zeros_like(height, dtype=torch.bool)
    for query in range(queries):
        rows = torch.nonzero(~broken & (count > 0))[:, 0]
        if not len(rows):
            break
        drawn = rng.words(batch.ids[rows], 2, batch.seed, "word-walk", query) & MASK_63_BITS
        columns = places[rows, drawn[:, 0] % count[rows]]
        tried, words = best[rows], clean[rows, columns]
        tried[torch.arange(len(rows)), columns] = words + radius * (goals[drawn[:, 1] % len(goals)] - words).sign()
        for part, tokens in batches(batch.inputs[rows], access.batch_size):
            here = rows[part]
            logits = table.logits(tokens, tried[part, : tokens.shape[1]]).float()
            found = torch.where(torch.isfinite(logits).all(1), margin(logits, batch.labels[here]), -torch.inf)
            better = found > height[here]
            best[here[better]], height[here[better]] = tried[part][better], found[better]
            broken[here] = found > 0
    return broken
