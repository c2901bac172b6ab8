"""A small GPT with nanoGPT's shape and initialisation, https://github.com/karpathy/nanoGPT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

_STD = 0.02  # of initial weights


class Block(nn.Module):
    """Attention to what came before, and a net for each position; both add to what they read."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.drop = heads, nn.Dropout(dropout)
        self.norm1, self.norm2 = (nn.LayerNorm(width, bias=False) for _ in range(2))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop(self.out(self.attention(self.norm1(x))))
        return x + self.drop(self.down(gelu(self.up(self.norm2(x)))))

    def attention(self, x: Tensor) -> Tensor:
        """(N, T, width) to the same shape, of which each position sees those up to itself."""
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).transpose(1, 3).unbind(2)
        dropout = self.drop.p if self.training else 0.0
        mixed = scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
        return mixed.transpose(1, 2).flatten(2)


class GPT(nn.Module):
    """Characters (N, T) int64, T ≤ context, to logits (N, T, vocabulary) of the next ones.

    A decoder-only transformer; the defaults are nanoGPT's for characters on a GPU.
    """

    def __init__(
        self, vocabulary: int = 65, context: int = 256, layers: int = 6, heads: int = 6,
        width: int = 384, dropout: float = 0.2,
    ) -> None:  # fmt: skip
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, bias=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.tokens.weight = self.head.weight
        for name, weight in self.named_parameters():
            if weight.ndim == 2:  # what adds to the residual stream is smaller
                last = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=_STD / (2 * layers) ** 0.5 if last else _STD)

    def forward(self, characters: Tensor) -> Tensor:
        places = torch.arange(characters.shape[1], device=characters.device)
        x = self.drop(self.tokens(characters) + self.places(places))
        return self.head(self.norm(self.blocks(x)))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The blocks' matrices (`hidden`), the embeddings, and the norms, which do not decay."""
        hidden = [weight for weight in self.blocks.parameters() if weight.ndim == 2]
        norms = [weight for weight in self.parameters() if weight.ndim == 1]
        return [
            {"params": hidden, "hidden": True},
            {"params": [self.tokens.weight, self.places.weight], "embedding": True},
            {"params": norms, "weight_decay": 0.0},
        ]


gpt = GPT  # the name in configurations, and so in their hashes
