"""Modules that exporters are known to get wrong, or that look as if they might."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

RANDOM = np.random.default_rng(11)
TABLE = RANDOM.normal(size=(60, 6))
SERIES = RANDOM.normal(size=(30, 9, 6))
IMAGES = RANDOM.normal(size=(20, 3, 9, 9))
WORDS = RANDOM.integers(0, 30, size=(40, 7))


class Does(nn.Module):
    """A layer in front, so that there are weights, then a function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.first, self.function = nn.Linear(6, 6), function

    def forward(self, x: Any) -> Any:
        return self.function(self.first(x))


class Last(nn.Module):
    """The last state of a recurrent layer."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Any) -> Any:
        states, _ = self.layer(x)
        return states[:, -1]


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.out = nn.Embedding(30, 4, padding_idx=0), nn.Linear(4, 2)

    def forward(self, ids: Any) -> Any:
        known = (ids != 0).unsqueeze(-1)
        total = (self.embed(ids) * known).sum(dim=1)
        return self.out(total / known.sum(dim=1).clamp(min=1))


class Shared(nn.Module):
    """One layer used twice, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)
        self.register_buffer("mean", torch.arange(6.0))

    def forward(self, x: Any) -> Any:
        return self.layer(torch.tanh(self.layer(x - self.mean)))


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Any) -> Any:
        mask = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        answer, _ = self.attention(x, x, x, attn_mask=mask)
        return answer.mean(dim=1)


def pooled(layer: Any) -> Any:
    return nn.Sequential(nn.Conv2d(3, 2, 3), layer)


MODULES: dict[str, tuple[Callable[[], Any], Any]] = {
    "GELU, exact and by tanh": (
        lambda: Does(lambda x: functional.gelu(x) + functional.gelu(x, approximate="tanh")),
        TABLE,
    ),
    "group normalisation": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.Flatten()),
        IMAGES,
    ),
    "layer normalisation of series": (lambda: nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 1)), SERIES),
    "batch normalisation with cumulative mean": (
        lambda: nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6, momentum=None)),
        TABLE,
    ),
    "average pooling over an uneven edge": (
        lambda: pooled(nn.AvgPool2d(3, 2, padding=1, ceil_mode=True, count_include_pad=False)),
        IMAGES,
    ),
    "maximum pooling over an uneven edge": (lambda: pooled(nn.MaxPool2d(3, 2, ceil_mode=True)), IMAGES),
    "adaptive pooling": (lambda: pooled(nn.AdaptiveAvgPool2d(1)), IMAGES),
    "enlarged bilinearly": (
        lambda: pooled(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)),
        IMAGES,
    ),
    "enlarged to the nearest": (lambda: pooled(nn.Upsample(scale_factor=2)), IMAGES),
    "transposed convolution": (lambda: nn.ConvTranspose2d(3, 2, 3, stride=2, output_padding=1), IMAGES),
    "reflected edges": (lambda: nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(3, 2, 3)), IMAGES),
    "GRU in both directions": (lambda: Last(nn.GRU(6, 5, batch_first=True, bidirectional=True)), SERIES),
    "LSTM of two layers with dropout": (
        lambda: Last(nn.LSTM(6, 5, num_layers=2, dropout=0.5, batch_first=True)),
        SERIES,
    ),
    "masked attention": (Attends, SERIES),
    "words, some of them padding": (Bag, WORDS),
    "a layer used twice": (Shared, TABLE),
    "where instead of if": (lambda: Does(lambda x: torch.where(x > 0, x, x.exp() - 1)), TABLE),
    "sorted values": (lambda: Does(lambda x: x.sort(dim=1, descending=True).values), TABLE),
    "the two largest": (lambda: Does(lambda x: x.topk(2, dim=1).values), TABLE),
    "running totals": (lambda: Does(lambda x: x.cumsum(dim=1)), TABLE),
    "rounded, to even where halfway": (lambda: Does(lambda x: (x * 0 + 2.5).round() + x), TABLE),
    "remainders of negative numbers": (lambda: Does(lambda x: (x.detach() - 3) % 2), TABLE),
    "whole division": (lambda: Does(lambda x: torch.floor_divide(x * 10, 3) + x), TABLE),
    "standard deviations, unbiased": (lambda: Does(lambda x: x.std(dim=1)), TABLE),
    "log-softmax and einsum": (
        lambda: Does(lambda x: torch.einsum("ij,kj->ik", x.log_softmax(1), torch.eye(6))),
        TABLE,
    ),
    "labels as whole numbers": (lambda: Does(lambda x: x.argmax(dim=1)), TABLE),
    "yes or no": (lambda: Does(lambda x: x.sum(dim=1) > 0), TABLE),
}
