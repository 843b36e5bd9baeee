"""Image corruptions: those of ImageNet-C and CIFAR-C (Hendrycks & Dietterich 2019), ImageNet-C-bar (Mintun et al. 2021)
and LAION-C (Li et al. 2025)."""
