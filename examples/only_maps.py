"""Only class activation maps, of a network of your own: any torch module that returns logits for pictures in 0 to 1.

python examples/only_maps.py
"""

import torch
from torch import nn

import seefar

network = nn.Sequential(
    nn.Conv2d(3, 16, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, stride=2, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(32, 10),
).eval()
pictures = torch.rand(4, 3, 32, 32)  # (N, 3, H, W) in 0 to 1

layer = network[2]  # the last convolution: (N, 32, 8, 8)
maps = seefar.gradcam(network, pictures, [0, 1, 2, 3], layer)  # (N, 8, 8), signed, in logits
contrast = seefar.contrast_map(network, pictures, [0, 1, 2, 3], [1, 2, 3, 4], layer)  # why the first, not the second
print(maps.shape, contrast.shape)
print(
    f"strongest evidence for class 0 in picture 0: cell {divmod(int(maps[0].argmax()), 8)}, {maps[0].max():.3f} logits"
)
