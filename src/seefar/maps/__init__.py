"""Class activation maps: how they are computed, where their cells are in the image, and their sanity checks."""
