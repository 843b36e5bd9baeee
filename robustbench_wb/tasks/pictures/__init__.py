"""Tasks of pictures in a folder: what they are, how large they become, and which of them are decoded."""
