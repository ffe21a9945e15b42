"""Report: figures of a training, its mistakes and their maps."""
