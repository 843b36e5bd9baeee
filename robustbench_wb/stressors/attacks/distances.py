"""Name under which minimum-norm attacks store the distance of a sample; read by the analysis without torch."""

from typing import Final

DISTANCE: Final = "distance/"
"""Beginning of the names of the evidence that holds the distance of each sample; the sample id follows."""
