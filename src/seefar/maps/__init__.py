"""Class activation maps: how they are made, where their cells lie, and the scores they can be held to."""
