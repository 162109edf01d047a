"""An encoder refuses a file whose blocks need more weights than it has."""

from collections.abc import Callable
from typing import Any

import pytest

from mim_zoo.engine.loading import load_weights

Build = Callable[..., Any]

TRUNKS = {
    'shared': (dict(rel_pos='shared'), 'rel_pos_bias'),
    'block': (dict(rel_pos='block'), 'blocks.0.attn.relative_position_bias_table'),
    'decomposed': (dict(rel_pos='decomposed', class_token=False), 'attn.rel_pos_h'),
    'layer scale': (dict(layer_scale=0.1), 'blocks.0.gamma_1'),
}


@pytest.mark.parametrize('name', TRUNKS)
def test_blocks_never_leave_a_weight_out(build_vit: Build, name: str) -> None:
    built, lost = TRUNKS[name]
    state = build_vit(**built).state_dict()
    plain = build_vit(class_token=built.get('class_token', True))
    with pytest.raises(ValueError, match=rf'no place for .*{lost}.*Build it as'):
        load_weights(plain, state, min_share=0.0)
    with pytest.raises(ValueError, match='no place for'):
        plain.load_state_dict(state, strict=False)
    build_vit(**built).load_state_dict(state)


def test_relative_positions_alone_are_not_joined_by_absolute_ones(
    build_vit: Build,
) -> None:
    state = build_vit(rel_pos='shared', absolute_pos=False).state_dict()
    with pytest.raises(ValueError, match=r'pos_embed.*absolute_pos=False'):
        load_weights(build_vit(rel_pos='block'), state)


def test_fewer_blocks_than_the_file_has_are_a_choice(build_vit: Build) -> None:
    arch = dict(embed_dim=16, num_heads=2)
    state = build_vit(arch=dict(depth=4, **arch)).state_dict()
    report = load_weights(build_vit(arch=dict(depth=2, **arch)), state)
    assert report.share == 1 and len(report.unexpected) == 24
