"""A tiny vision transformer: the usual parts, small enough to be trained on a CPU in minutes."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seefar.data.images import Split


class Block(nn.Module):
    """Attention between the normalised tokens, then an MLP (Dosovitskiy et al. 2020, arXiv 2010.11929)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.heads = heads

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, C) to the same."""
        n, count, width = tokens.shape
        parts = self.qkv(self.norm1(tokens)).view(n, count, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(n, count, width)
        tokens = tokens + self.out(mixed)
        return tokens + self.mlp(self.norm2(tokens))


class TinyVit(nn.Module):
    """Logits (N, K) of pictures in 0 to 1, (N, 3, 32, 32), by a class token over 8x8 patches.

    The patches are embedded by convolutions, with which transformers learn from few images (Xiao et al. 2021, arXiv
    2106.14881).
    """

    def __init__(self, classes: int = 10, width: int = 64, depth: int = 2, heads: int = 2) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, 2, 1), nn.GELU(), nn.Conv2d(width // 2, width, 3, 2, 1), nn.GELU()
        )
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 65, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits, (N, K)."""
        patches = self.stem(2 * pictures - 1).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.class_token.expand(len(patches), -1, -1), patches), 1) + self.positions
        return self.head(self.norm(self.blocks(tokens))[:, 0])


def train_vit(split: Split, epochs: int, seed: int = 0) -> TinyVit:
    """A `TinyVit` trained by AdamW on mirrored and shifted images, in a cycle of one learning rate."""
    torch.manual_seed(seed)
    network, batch = TinyVit(len(split.classes)), 128
    pictures = torch.from_numpy(np.array(split.images)).permute(0, 3, 1, 2) / 255
    labels = torch.from_numpy(np.array(split.labels))
    steps = epochs * (len(labels) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.2)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(batch):
            if len(rows) < batch:
                continue
            part = F.pad(pictures[rows], (3, 3, 3, 3), mode="reflect")
            top, left = torch.randint(0, 7, (2,)).tolist()
            part = part[:, :, top : top + 32, left : left + 32]
            part = part.flip(3) if torch.rand(1) < 0.5 else part
            optimizer.zero_grad()
            F.cross_entropy(network(part), labels[rows], label_smoothing=0.05).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network.eval()
