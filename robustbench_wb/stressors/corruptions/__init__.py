"""Image corruptions: those of ImageNet-C and CIFAR-C (Hendrycks & Dietterich 2019), and of ImageNet-C-bar (2021)."""
