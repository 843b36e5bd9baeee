"""Out-of-distribution images, one in the place of each sample."""
