"""Your own training loop around the parts of the package: its data, batches and network, then its audit.

python examples/own_loop.py
"""

import torch
import torch.nn.functional as F

import seefar
from seefar.data.batches import AugmentedBatches

EPOCHS, BATCH = 3, 32


def brighter(image, random):
    """Your own augmentation: another brightness, drawn from `random`, so that each run draws the same."""
    return (image * random.uniform(0.7, 1.0)).astype("uint8")


data = seefar.load_data("shapes")
mean, std = data.statistics
torch.manual_seed(0)
network = seefar.ResNet18(len(data.classes), width=8, mean=mean, std=std)
batches = AugmentedBatches(data.train, brighter, "random", BATCH, seed=0)
optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=EPOCHS * len(batches))

network.train()
for epoch in range(EPOCHS):
    for number in range(len(batches)):
        batch = batches[epoch, number]  # images uint8 (B, H, W, 3), labels (B,)
        logits = network.classify(network.normalize(batch.images))  # (B, K)
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}")

result = seefar.audit(data, model=network.eval(), name="own-loop", top=3, explain="shown")
print(f"{result.evaluation.metrics.accuracy:.1%} of {len(data.test)} test images are right")
print(f"open {result.run.folder.report}")
