"""Evaluation: predictions, metrics, mistakes."""
