"""Attention in windows, in separate steps or in one fused call."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def sine_position(h, w, channels, temperature=10000.0):
    """The sine code of the positions of a frame: rows then columns, `[1, h·w, channels]`."""
    half = channels // 2
    wavelengths = temperature ** (2 * (torch.arange(half) // 2) / half)

    def axis(length):
        position = torch.arange(1, length + 1) / (length + 1e-6) * 2 * math.pi
        angle = position[:, None] / wavelengths
        return torch.where(torch.arange(half) % 2 == 0, angle.sin(), angle.cos())

    rows = axis(h)[:, None].expand(h, w, half)
    columns = axis(w)[None].expand(h, w, half)
    return torch.cat((rows, columns), dim=2).reshape(1, h * w, channels)


def relative_position_index(window):
    """For each pair of tokens of a window, the row of the bias table: `[n, n]`."""
    axes = [torch.arange(size) for size in window]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)
    index = 0
    for size, place in zip(window, places):
        index = index * (2 * size - 1) + place[:, None] - place[None] + size - 1
    return index


def attend_eager(q, k, v, bias, mask):
    """Attention in separate steps. q, k, v: `[n, heads, t, c]`; mask: `[windows, t, t]`."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if bias is not None:
        logits = logits + bias
    if mask is not None:
        shape = logits.shape
        logits = logits.view(-1, mask.shape[0], *shape[1:]) + mask[:, None]
        logits = logits.view(shape)
    return logits.softmax(dim=-1) @ v


def attend_fused(q, k, v, bias, mask):
    """The same in one call, with bias and mask added up beforehand."""
    added = None if bias is None else bias[None]
    if mask is not None:
        mask = mask[:, None]
        added = mask if added is None else added + mask
        added = added.repeat(q.shape[0] // mask.shape[0], 1, 1, 1)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=added)


ATTENTIONS = {"eager": attend_eager, "fused": attend_fused}


class WindowAttention(nn.Module):
    """Self attention in windows, and attention between the two frames of a window if `mutual`."""

    def __init__(self, dim, window, heads, mutual):
        super().__init__()
        self.heads = heads
        self.mutual = mutual
        self.attend = attend_eager
        table = math.prod(2 * size - 1 for size in window)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(table, heads))
        self.register_buffer("relative_position_index", relative_position_index(window))
        self.qkv_self = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(2 * dim if mutual else dim, dim)
        if mutual:
            self.register_buffer("position_bias", sine_position(*window[1:], dim))
            self.qkv_mut = nn.Linear(dim, 3 * dim)

    def split(self, qkv):
        """`[n, t, 3·c]` to queries, keys and values `[n, heads, t, c/heads]`."""
        n, t, channels = qkv.shape
        qkv = qkv.view(n, t, 3, self.heads, channels // (3 * self.heads))
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def position_bias_of(self, tokens):
        """The bias `[heads, tokens, tokens]` of a window of so many tokens."""
        index = self.relative_position_index[:tokens, :tokens].reshape(-1)
        bias = self.relative_position_bias_table[index].view(tokens, tokens, self.heads)
        return bias.permute(2, 0, 1).contiguous()

    def within(self, x, mask):
        """Attention of all tokens of a window to all."""
        q, k, v = self.split(self.qkv_self(x))
        y = self.attend(q, k, v, self.position_bias_of(x.shape[1]), mask)
        return y.transpose(1, 2).reshape(x.shape)

    def between(self, x, mask):
        """Attention of each frame of a window to the other one; the second frame's comes first."""
        half = x.shape[1] // 2
        position = self.position_bias.repeat(1, 2, 1)
        parts = [p.chunk(2, dim=2) for p in self.split(self.qkv_mut(x + position))]
        (q1, q2), (k1, k2), (v1, v2) = parts
        mask = None if mask is None else mask[:, :half, :half]
        first = self.attend(q2, k1, v1, None, mask)
        second = self.attend(q1, k2, v2, None, mask)
        return torch.cat((first, second), dim=2).transpose(1, 2).reshape(x.shape)

    def forward(self, x, mask):
        """`x`: `[windows, tokens, c]`; `mask`: `[windows a sample, tokens, tokens]` or `None`."""
        y = self.within(x, mask)
        if self.mutual:
            y = torch.cat((self.between(x, mask), y), dim=2)
        return self.proj(y)
