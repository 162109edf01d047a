"""Files of OpenMMLab's MFF and PixMIM."""

import pytest
import torch
from golden_models import mff_model, same

from mim_zoo.conversion import convert, from_ours, recognise, to_ours
from mim_zoo.conversion.shapes import describe


def test_the_round_trip_is_equal_bit_for_bit(mff):
    ours = to_ours(mff)
    assert ours.source == recognise(mff) == 'mmpretrain'
    assert not ours.dropped
    assert same(convert(mff, 'mmpretrain').state, mff)
    assert describe(ours.state).startswith('ViT 48 x 6, patch 16, 3 channels, 3 levels')


def test_our_mff_has_these_names(mff):
    state = to_ours(mff).state
    ours = mff_model()
    ours.load_state_dict(state, strict=True)
    for i in (0, 1):
        theirs = mff[f'backbone.proj_layers.{i}.weight']
        assert torch.equal(ours.neck.fusions[0].proj_layers[i].weight, theirs)
    assert torch.equal(ours.neck.fusions[0].proj_weights, mff['backbone.proj_weights'])
    assert same(from_ours(ours.state_dict(), 'mmpretrain').state, mff)


def test_an_encoder_alone_leaves_the_fusion_behind(mff):
    fusion = {
        'neck.fusions.0.proj_weights',
        *(
            f'neck.fusions.0.proj_layers.{i}.{leaf}'
            for i in (0, 1)
            for leaf in ('weight', 'bias')
        ),
    }
    timm = convert(mff, 'timm')
    assert {k for k in timm.dropped if 'fusions' in k} == fusion
    for target in ('ours', 'mae', 'mmpretrain'):
        alone = convert(mff, target, backbone_only=True)
        assert fusion <= set(alone.dropped)
        assert not any('proj_layers' in k or 'proj_weights' in k for k in alone.state)


def test_a_decoder_does_not_go_where_its_fusion_cannot(mff):
    with pytest.raises(ValueError, match=r'mae has no place for neck\.fusions.*only'):
        convert(mff, 'mae')
    state = mff_model(proj='mlp').state_dict()
    with pytest.raises(ValueError, match=r'mmpretrain has no place for neck\.fusions'):
        convert(state, 'mmpretrain')


def test_the_filter_of_pixmim_is_known_to_follow_from_its_radius(mff):
    name = 'target_generator.low_pass_filter'
    for target in ('ours', 'timm', 'mmpretrain'):
        done = convert({**mff, name: torch.ones(3, 64, 64)}, target)
        assert done.derived == [name]
        assert name not in done.dropped
        assert same(done.state, convert(mff, target).state)
