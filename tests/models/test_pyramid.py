"""Necks for detectors and segmenters."""

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from mim_zoo.models import ChannelNorm, SimpleFeaturePyramid, TapNorm, TapPyramid


def sizes(maps) -> list[tuple[int, ...]]:
    return [tuple(x.shape[1:]) for x in maps]


def test_a_channel_norm_is_that_of_each_place() -> None:
    norm, x = ChannelNorm(6), torch.randn(2, 6, 3, 4)
    nn.init.normal_(norm.weight)
    expected = (x - x.mean(1, keepdim=True)) / (x.var(1, False, True) + 1e-6).sqrt()
    torch.testing.assert_close(norm(x), expected * norm.weight.view(-1, 1, 1))


@pytest.mark.parametrize('num_outs', [4, 5, 6])
def test_the_levels_of_a_simple_pyramid(num_outs: int) -> None:
    neck = SimpleFeaturePyramid(16, 8, num_outs)
    found = sizes(neck([torch.randn(1, 16, 4, 6)]))
    expected = [(8, 16, 24), (8, 8, 12), (8, 4, 6), (8, 2, 3), (8, 1, 2), (8, 1, 1)]
    assert found == expected[:num_outs]


def test_the_parameters_of_a_simple_pyramid_are_vitdet_s() -> None:
    D, C = 768, 256
    up = 4 * D * D // 2 + D // 2 + 2 * (D // 2) + 4 * (D // 2) * (D // 4) + D // 4
    once = 4 * D * D // 2 + D // 2
    each = 9 * C * C + 4 * C  # a 3 x 3 convolution and two norms
    lateral = C * (D // 4 + D // 2 + D + D)
    neck = SimpleFeaturePyramid(D)
    found = sum(p.numel() for p in neck.parameters())
    assert found == up + once + lateral + 4 * each


def test_the_extra_level_is_every_second_place() -> None:
    levels = SimpleFeaturePyramid(8, 4)([torch.randn(1, 8, 8, 8)])
    assert torch.equal(levels[4], levels[3][:, :, ::2, ::2])


def test_taps_keep_their_order_and_channels() -> None:
    neck = TapPyramid(8).eval()
    maps = [torch.randn(1, 8, 4, 6) for _ in range(4)]
    levels = neck(maps)
    assert sizes(levels) == [(8, 16, 24), (8, 8, 12), (8, 4, 6), (8, 2, 3)]
    assert torch.equal(levels[2], maps[2])
    assert torch.equal(levels[3], nn.functional.max_pool2d(maps[3], 2))


def test_the_norm_is_shared_by_processes_unless_asked() -> None:
    kinds = [type(TapPyramid(8, norm=norm).levels[0][1]) for norm in ('SyncBN', 'BN')]
    assert kinds == [nn.SyncBatchNorm, nn.BatchNorm2d]


def test_a_norm_per_tap_but_where_there_is_one() -> None:
    maps = [torch.randn(1, 4, 4, 4) * 9, torch.randn(1, 8, 2, 2) * 9]
    normed = TapNorm([4, None])(maps)
    assert torch.equal(normed[1], maps[1])
    assert normed[0].mean(1).abs().max() < 1e-5
    assert (normed[0].var(1, False) - 1).abs().max() < 1e-3


@pytest.mark.parametrize(
    ('neck', 'maps', 'message'),
    [
        (
            SimpleFeaturePyramid(8),
            4,
            r'got 4 map\(s\) .* expected 1; set backbone.out_',
        ),
        (TapPyramid(8), 1, r'got 1 map\(s\) .* expected 4'),
        (TapNorm([8, None]), 4, r'got 4 map\(s\) .* expected 2'),
    ],
)
def test_a_wrong_number_of_maps(neck: nn.Module, maps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        neck([torch.randn(1, 8, 2, 2)] * maps)


@pytest.mark.parametrize(
    ('neck', 'maps'),
    [(SimpleFeaturePyramid(8), 1), (TapPyramid(8), 4), (TapNorm([8, None]), 2)],
)
def test_maps_of_another_width(neck: nn.Module, maps: int) -> None:
    with pytest.raises(ValueError, match=r'maps of \[16.* channels, expected \[8'):
        neck([torch.randn(1, 16, 2, 2)] * maps)


def test_bad_options() -> None:
    with pytest.raises(ValueError, match='num_outs: got 3'):
        SimpleFeaturePyramid(8, num_outs=3)
    with pytest.raises(ValueError, match='a multiple of 4'):
        SimpleFeaturePyramid(6)
    with pytest.raises(ValueError, match="norm: got 'GN'"):
        TapPyramid(8, norm='GN')


def test_necks_are_built_in_another_scope() -> None:
    from mmengine.registry import MODELS

    with DefaultScope.overwrite_default_scope('elsewhere'):
        neck = MODELS.build(dict(type='mim_zoo.SimpleFeaturePyramid', in_channels=8))
    assert isinstance(neck, SimpleFeaturePyramid)
