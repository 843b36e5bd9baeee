"""Image corruptions: the 15 + 4 of ImageNet-C and CIFAR-C (Hendrycks & Dietterich, ICLR 2019)."""
