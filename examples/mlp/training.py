"""Training of the network, with evaluation on the test images after every epoch."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from examples.common.progress import progress
from fusedrnn.reference.optim import sgd_

from .data import Images

LR = 100 / 256


@dataclass(frozen=True)
class Plan:
    """Number of images and epochs, batch size, and whether the learning rate decays from 100/256 to 0."""

    images: int
    epochs: int
    batch: int
    decay: bool = False


@dataclass
class Curve:
    """Per epoch: accuracy during training (with dropout, while weights change), and test accuracy and loss."""

    train: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)


def train(model: nn.Module, images: Images, seed: int, plan: Plan, name: str) -> Curve:
    """Train by SGD on the mean cross-entropy; the seed determines minibatches and dropout masks.

    The published learning rate is 100, for a gradient that is divided by the batch size twice: 100/256 here.
    """
    order = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    curve = Curve()
    for epoch in progress(range(plan.epochs), name):
        lr = LR * (1 - epoch / plan.epochs) if plan.decay else LR
        model.train()
        hits = 0
        for places in torch.randperm(len(images.train), generator=order).split(plan.batch):
            scores, labels = model(images.train[places]), images.train_labels[places]
            model.zero_grad()
            cross_entropy(scores, labels).backward()
            sgd_(model.parameters(), lr)
            hits += int((scores.argmax(dim=1) == labels).sum())
        curve.train.append(hits / len(images.train))
        accuracy, loss = judge(model, images.test, images.test_labels)
        curve.test.append(accuracy)
        curve.test_loss.append(loss)
    return curve


@torch.no_grad()
def judge(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return accuracy and mean cross-entropy without dropout."""
    model.eval()
    scores = model(images)
    return (scores.argmax(dim=1) == labels).double().mean().item(), cross_entropy(scores, labels).item()
