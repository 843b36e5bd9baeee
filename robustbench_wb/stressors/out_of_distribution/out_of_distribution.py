"""Base of stressors that replace each sample by an image without any class of the task."""

from robustbench_wb.stressors.model_free import ModelFreeImageStressor


class OutOfDistribution(ModelFreeImageStressor):
    """Base of out-of-distribution images, which a model should recognise by a small largest logit.

    The outcome of a sample is about detection, not about its class: it counts as correct if its largest logit is above
    that of its out-of-distribution image (Hendrycks et al. 2022, arXiv 1911.11132: negative of the largest logit as
    anomaly score). The share of such samples estimates the area under the ROC curve from n pairs; column ``auroc`` of
    a row has the area over all n^2 pairs. A subclass writes ``perturb``, which returns the images.
    """
