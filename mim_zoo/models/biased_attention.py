"""Attention with a bias per pair of tokens, which may be learned.

Legend: B images, W windows of N tokens, H heads of D channels. qkv (B, W, N, 3, H, D)
is what a linear layer makes of windows; bias is (1, 1, H, N, N), one for all, or
(1 | B, W, H, N, N), with -inf where a token may not look, never in a whole row.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SCORES_AT_ONCE = 2**20  # 4 MiB of float32: a piece stays in the cache of a core or two


def biased_attention(qkv: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D) + bias) v, (B, W, N, H, D).

    PyTorch's kernels for a CPU know no gradient of a bias: for a learned one
    ``scaled_dot_product_attention`` would keep the scores of the whole batch.
    """
    learned = bias.requires_grad and torch.is_grad_enabled()
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if learned and qkv.device.type == 'cpu' and not recorded:
        return AttentionInPieces.apply(qkv, bias)
    return attention_at_once(qkv, bias)


def attention_at_once(qkv: Tensor, bias: Tensor) -> Tensor:
    """``biased_attention`` by ``scaled_dot_product_attention``."""
    B, W, N, _, H, _ = qkv.shape
    # windows of one bias count as images, others as heads: no bias is repeated
    fold = (B * W, H) if bias.shape[:2] == (1, 1) else (B, W * H)
    q, k, v = (part.reshape(*fold, N, -1) for part in qkv.permute(3, 0, 1, 4, 2, 5))
    x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.flatten(1, 2))
    return x.reshape(B, W, H, N, -1).transpose(2, 3)


def pieces(qkv: Tensor) -> Iterator[tuple[slice, slice]]:
    """Images and windows whose scores are computed at once."""
    B, W, N, _, H, _ = qkv.shape
    windows = min(max(SCORES_AT_ONCE // (H * N * N), 1), W)
    images = max(SCORES_AT_ONCE // (W * H * N * N), 1)
    for i in range(0, B, images):
        for w in range(0, W, windows):
            yield slice(i, i + images), slice(w, w + windows)


def part(bias: Tensor, piece: tuple[slice, slice]) -> Tensor:
    """The bias (a view) of a piece; an axis of length 1 is that of all."""
    images, windows = piece
    return bias[
        images if len(bias) > 1 else slice(None),
        windows if bias.shape[1] > 1 else slice(None),
    ]


def heads_first(x: Tensor) -> tuple[Tensor, ...]:
    """A piece of qkv (b, w, N, 3, H, D) as q / sqrt(D), k, v, each (b, w, H, N, D).

    In float32 at least, as ``scaled_dot_product_attention`` computes without a kernel.
    """
    q, k, v = x.permute(3, 0, 1, 4, 2, 5).to(torch.promote_types(x.dtype, torch.float))
    return q * x.shape[-1] ** -0.5, k.contiguous(), v.contiguous()


def probabilities(q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
    """Of scaled q and k (b, w, H, N, D): (b, w, H, N, N)."""
    scores = (q @ k.mT).add_(bias)
    if scores.requires_grad:  # a derivative of the derivative
        return scores.softmax(-1)
    return torch.softmax(scores, -1, out=scores)  # a row is read before it is written


class AttentionInPieces(torch.autograd.Function):
    """``biased_attention`` whose scores exist piece by piece, forward and backward.

    A piece stays in cache. Only what the layers around keep anyway is kept for the
    backward pass, which computes the scores again.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, bias: Tensor) -> Tensor:
        out = torch.empty_like(qkv[:, :, :, 0], memory_format=torch.contiguous_format)
        for piece in pieces(qkv):
            q, k, v = heads_first(qkv[piece])
            with torch.autocast('cpu', enabled=False):  # the backward pass is outside
                probs = probabilities(q, k, part(bias, piece))
                out[piece] = (probs @ v).transpose(2, 3)
        ctx.save_for_backward(qkv, bias, out)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        qkv, bias, out = ctx.saved_tensors
        grad_qkv, grad_bias = torch.empty_like(qkv), torch.zeros_like(bias)
        for piece in pieces(qkv):
            q, k, v = heads_first(qkv[piece])
            probs = probabilities(q, k, part(bias, piece))
            g = grad[piece].transpose(2, 3).to(v.dtype).contiguous()
            # sum_j p_ij dp_ij, of the softmax's gradient, is the product g_i . out_i
            mean = (g * out[piece].transpose(2, 3)).sum(-1, keepdim=True)
            scores = (g @ v.mT).sub_(mean).mul_(probs)
            part(grad_bias, piece).add_(scores.sum_to_size(part(bias, piece).shape))
            into = grad_qkv[piece].permute(3, 0, 1, 4, 2, 5)
            into[0] = (scores @ k) * qkv.shape[-1] ** -0.5
            into[1] = scores.mT @ q
            into[2] = probs.mT @ g
        return grad_qkv, grad_bias
