"""The network: ResNet-18 of BasicBlocks, and its dense twin for maps of finer cells."""

from seefar.model.resnet import STAGES, ResNet18, dense_twin

__all__ = ["STAGES", "ResNet18", "dense_twin"]
