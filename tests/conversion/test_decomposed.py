"""Encoders with decomposed relative positions, which are ours alone."""

import pytest
import torch

from mim_zoo.conversion import convert
from mim_zoo.conversion.shapes import (
    build_encoder,
    describe,
    encoder_arguments,
    timm_call,
)
from mim_zoo.engine.loading import read_checkpoint, state_dict_of
from mim_zoo.models import MIMViT

ARCH = dict(embed_dim=24, depth=3, num_heads=3)
WINDOWS = [{}, dict(window=3, global_blocks=(1,)), dict(window=3, global_blocks=())]


def encoder(**options) -> MIMViT:
    torch.manual_seed(0)
    made = dict(arch=ARCH, img_size=32, patch_size=4, class_token=False)
    model = MIMViT(**{**made, 'rel_pos': 'decomposed', **options})
    for name, table in model.named_parameters():
        if 'rel_pos_' in name:
            torch.nn.init.normal_(table)
    return model.eval()


def state_of(model: MIMViT) -> dict[str, torch.Tensor]:
    return {f'backbone.{k}': v for k, v in model.state_dict().items()}


@pytest.mark.parametrize('windows', WINDOWS)
def test_windows_and_heads_are_inferred(windows):
    model = encoder(**windows)
    state = state_of(model)
    found = encoder_arguments(state)
    assert found['arch'] == ARCH
    keys = ('rel_pos', 'window', 'global_blocks')
    expected = {'rel_pos': 'decomposed', **windows}
    assert {k: found[k] for k in keys if k in found} == expected
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(build_encoder(state)(images)[0], model(images)[0])
    assert describe(state).endswith('3 channels, decomposed relative positions')


@pytest.mark.parametrize('target', ['timm', 'mae', 'deepmim', 'dbot', 'mmpretrain'])
def test_other_formats_have_no_place_for_them(target):
    with pytest.raises(
        ValueError,
        match=rf'{target} has no place for backbone\.blocks\.0\.attn\.rel_pos_h \(6 ',
    ):
        convert(state_of(encoder()), target)
    with pytest.raises(ValueError, match=r"timm has no place for rel_pos='decomposed'"):
        timm_call(state_of(encoder()))


def test_nor_has_dbot_beside_layer_scale():
    with pytest.raises(ValueError, match=r'dbot has no place for .*rel_pos_h'):
        convert(state_of(encoder(layer_scale=0.1)), 'dbot')


def test_the_tool_keeps_them_in_our_names_only(tool, tmp_path):
    src, ours, timm = (tmp_path / f'{name}.pth' for name in ('src', 'ours', 'timm'))
    state = state_of(encoder(window=3, global_blocks=(1,)))
    torch.save(state, src)
    with pytest.raises(ValueError, match='timm has no place for'):
        tool.main([str(src), str(timm), '--to', 'timm'])
    assert not timm.exists()
    tool.main([str(src), str(ours)])
    written = state_dict_of(read_checkpoint(ours))
    assert written.keys() == state.keys()
    assert all(torch.equal(written[k], state[k]) for k in state)


@pytest.mark.parametrize(
    ('change', 'tokens'),
    [
        ({'backbone.blocks.2.attn.rel_pos_w': 5}, r'\[3, 8\]'),  # not square
        ({f'backbone.blocks.2.attn.rel_pos_{a}': 7 for a in 'hw'}, r'\[3, 4, 8\]'),
        ({f'backbone.blocks.2.attn.rel_pos_{a}': None for a in 'hw'}, r'\[3, 8\]'),
    ],
)
def test_what_no_encoder_of_ours_has_is_refused(change, tokens):
    state = state_of(encoder(window=3, global_blocks=(1, 2)))
    for name, rows in change.items():
        del state[name]
        if rows:
            state[name] = torch.zeros(rows, 8)
    with pytest.raises(ValueError, match=f'got windows of {tokens} tokens.*img_size'):
        encoder_arguments(state)


def test_without_absolute_positions_the_size_is_unknown():
    state = state_of(encoder(absolute_pos=False))
    with pytest.raises(ValueError, match=r'backbone\.pos_embed: got none.*img_size'):
        encoder_arguments(state)
