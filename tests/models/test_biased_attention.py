"""Attention in pieces against the formula, in number, gradient and memory kept."""

import pytest
import torch
from torch import Tensor

from mim_zoo.models import biased_attention
from mim_zoo.models.biased_attention import (
    AttentionInPieces,
    attention_at_once,
    pieces,
)

B, W, N, H, D = 3, 4, 6, 2, 5
SHAPES = [(1, 1), (1, W), (B, W)]  # of a bias: images and windows


@pytest.fixture(params=[1, 2 * H * N * N, W * H * N * N, 2 * W * H * N * N, 2**20])
def scores_at_once(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> int:
    """One window at once, two, an image, two, and the batch."""
    monkeypatch.setattr(biased_attention, 'SCORES_AT_ONCE', request.param)
    return request.param


def inputs(
    shape: tuple[int, int], dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """qkv, a learned bias, and a penalty that lets every token see itself."""
    torch.manual_seed(0)
    qkv = torch.randn(B, W, N, 3, H, D, dtype=dtype, requires_grad=True)
    bias = torch.randn(*shape, H, N, N, dtype=dtype, requires_grad=True)
    apart = (torch.rand(*shape, 1, N, N) < 0.4) & ~torch.eye(N, dtype=torch.bool)
    penalty = torch.zeros(apart.shape, dtype=dtype).masked_fill(apart, -torch.inf)
    return qkv, bias, penalty


def formula(qkv: Tensor, bias: Tensor) -> Tensor:
    q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)
    scores = q @ k.mT / D**0.5 + bias
    return (scores.softmax(-1) @ v).transpose(2, 3)


def test_pieces_cover_everything_once(scores_at_once: int) -> None:
    qkv = torch.zeros(B, W, N, 3, H, D)
    for piece in pieces(qkv):
        found = qkv[piece]
        found += 1
        one = found.shape[:2] == (1, 1)
        assert one or found.shape[0] * found.shape[1] * H * N * N <= scores_at_once
    assert (qkv == 1).all()


@pytest.mark.parametrize('shape', SHAPES)
def test_numbers_and_gradients(shape: tuple[int, int], scores_at_once: int) -> None:
    qkv, bias, penalty = inputs(shape)
    found = AttentionInPieces.apply(qkv, bias + penalty)
    expected = formula(qkv, bias + penalty)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(attention_at_once(qkv, bias + penalty), expected)
    weight = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, (qkv, bias), weight),
        torch.autograd.grad(expected, (qkv, bias), weight),
    )


@pytest.mark.parametrize('shape', SHAPES)
def test_derivatives(shape: tuple[int, int], scores_at_once: int) -> None:
    qkv, bias, penalty = inputs(shape)

    def run(qkv: Tensor, bias: Tensor) -> Tensor:
        return AttentionInPieces.apply(qkv, bias + penalty)

    assert torch.autograd.gradcheck(run, (qkv, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (qkv, bias), fast_mode=True)


@pytest.mark.parametrize('shape', SHAPES)
def test_half_precision_is_computed_in_float32(shape: tuple[int, int]) -> None:
    exact = [x.detach().requires_grad_() for x in inputs(shape)[:2]]
    rounded = [x.detach().bfloat16().requires_grad_() for x in exact]
    weight = torch.randn(B, W, N, H, D, dtype=torch.float64)
    for x, function in (exact, formula), (rounded, AttentionInPieces.apply):
        function(*x).backward(weight.to(x[0].dtype))
    for one, other in zip(rounded, exact):
        error = (one.grad - other.grad).norm() / other.grad.norm()
        assert one.grad.dtype == torch.bfloat16 and error < 0.02


def test_scores_are_not_kept() -> None:
    qkv, bias, _ = inputs((1, W), torch.float32)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.append(x) or x, lambda x: x
    ):
        out = biased_attention.biased_attention(qkv, bias)
    assert {x.data_ptr() for x in kept} == {x.data_ptr() for x in (qkv, bias, out)}


def test_only_a_learned_bias_needs_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(
        biased_attention, 'attention_at_once', lambda *_: calls.append('at once')
    )
    qkv, bias, _ = inputs((1, 1))
    biased_attention.biased_attention(qkv, bias)
    assert calls == []
    biased_attention.biased_attention(qkv, bias.detach())
    with torch.no_grad():
        biased_attention.biased_attention(qkv, bias)
    assert calls == ['at once'] * 2
