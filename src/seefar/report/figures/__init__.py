"""Figures, each from plain values, each a matplotlib Figure; no pyplot, so nothing global changes.

All stand on an opaque white ground, so that they read the same in light and dark pages.
"""

from seefar.report.figures.history import plot_history
from seefar.report.figures.maps import plot_maps
from seefar.report.figures.mistakes import plot_mistakes
from seefar.report.figures.panels import show_map
from seefar.report.figures.picture import plot_picture

__all__ = ["plot_history", "plot_maps", "plot_mistakes", "plot_picture", "show_map"]
