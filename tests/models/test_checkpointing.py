"""Blocks that are computed again in the backward pass, in encoders and decoders."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from mim_zoo.registry import MODELS

ENCODER = dict(
    type='MIMViT',
    arch=dict(embed_dim=32, depth=4, num_heads=2),
    img_size=32,
    patch_size=4,
    drop_path_rate=0.3,
)
DECODER = dict(
    type='TransformerDecoder', embed_dim=32, depth=4, num_heads=2, drop_path_rate=0.3
)


def step(model: Any) -> tuple[Tensor, dict[str, Tensor], int]:
    """A loss, its gradients, and the bytes that were kept for these."""
    kept: dict[int, Tensor] = {}

    def pack(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value
        return value

    torch.manual_seed(1)
    images, mask = torch.randn(8, 3, 32, 32), torch.arange(64)[None] % 4 > 0
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        (loss,) = model.loss(images, mask).values()
    found = sum(value.untyped_storage().nbytes() for value in kept.values())
    loss.backward()
    gradients = {k: p.grad for k, p in model.named_parameters() if p.requires_grad}
    return loss.detach(), gradients, found


@pytest.mark.parametrize(('part', 'tokens'), [('encoder', 1 + 16), ('decoder', 1 + 64)])
def test_the_same_step_keeps_less(part: str, tokens: int) -> None:
    found = []
    for with_cp in (False, True):
        backbone, decoder = copy.deepcopy((ENCODER, DECODER))
        {'encoder': backbone, 'decoder': decoder}[part]['with_cp'] = with_cp
        head = dict(
            type='MIMHead',
            target=dict(type='PixelTarget'),
            loss=dict(type='MaskedMSE'),
            decoder=decoder,
        )
        torch.manual_seed(0)
        drop = dict(type='DropPatches')
        cfg = dict(type='MAE', backbone=backbone, corruption=drop, head=head)
        found.append(step(MODELS.build(cfg)))
    (loss, gradients, kept), (loss_again, gradients_again, kept_again) = found
    assert torch.equal(loss, loss_again)
    torch.testing.assert_close(gradients, gradients_again)
    # of a block at least q, k, v, and the hidden layer before and after GELU, in fp32
    assert kept - kept_again > 4 * 8 * tokens * 32 * (3 + 4 + 4) * 4
