"""Necks on finer levels than the predictions, and on two images in one sequence."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mim_zoo.models import MIM, LevelFusion
from mim_zoo.models.necks import average_cells, labels_of_cells

PYRAMID = ((4, 8), (8, 16), (8, 16), (16, 32))  # channels, stride
GRID = (2, 3)


def pyramid_outputs(batch: int = 2) -> dict[int, Tensor]:
    torch.manual_seed(0)
    return {
        i: torch.randn(batch, 6 * (32 // stride) ** 2, channels)
        for i, (channels, stride) in enumerate(PYRAMID)
    }


def shaken(fuse: LevelFusion) -> LevelFusion:
    """With random parameters, biases and shares of levels too."""
    with torch.no_grad():
        for parameter in fuse.parameters():
            parameter.normal_(std=0.5)
    return fuse


class Double(nn.Module):
    """Stands for the encoder's norm; easy to tell."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


# --- levels finer than the predictions -------------------------------------------


@pytest.mark.parametrize('grid', [(2, 3), (5, 1)])
@pytest.mark.parametrize('side', [1, 2, 4])
def test_cells_are_averaged(grid: tuple[int, int], side: int) -> None:
    maps = torch.randn(2, 8, grid[0] * side, grid[1] * side)
    pooled = average_cells(maps.flatten(2).transpose(1, 2), grid, side)
    expected = F.avg_pool2d(maps, side).flatten(2).transpose(1, 2)
    torch.testing.assert_close(pooled, expected)


def test_dropped_and_prefix_tokens_are_left_alone() -> None:
    x = torch.randn(2, 1 + 3, 8)  # 3 of 6 patches
    assert average_cells(x, (2, 3), 1) is x


def test_levels_of_a_pyramid_come_to_the_grid_of_predictions() -> None:
    levels = pyramid_outputs()
    fuse = shaken(LevelFusion([[1], [0, 2], [0, 1, 3]], levels=PYRAMID))
    assert fuse.out_channels == [8, 8, 16]
    one, two, three = fuse(levels, Double(), GRID)
    x = {i: average_cells(levels[i], GRID, 32 // PYRAMID[i][1]) for i in levels}
    assert torch.equal(one, x[1])  # a single level, raw
    _, fusion, last = fuse.fusions
    assert torch.equal(two, fusion([x[0], x[2]]))
    assert torch.equal(three, 2 * last([x[0], x[1], x[3]]))
    assert three.shape == (2, 6, 16)


@pytest.mark.parametrize('fusion', ['weighted', 'attention'])
@pytest.mark.parametrize('proj', ['linear', 'mlp'])
def test_every_parameter_gets_a_gradient(fusion: str, proj: str) -> None:
    fuse = LevelFusion('all', proj=proj, fusion=fusion, levels=PYRAMID)
    out = fuse(pyramid_outputs(), nn.Identity(), GRID)[0]
    (out * torch.randn_like(out)).sum().backward()
    for name, parameter in fuse.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize('fusion', ['weighted', 'attention'])
def test_traces_as_one_graph(fusion: str) -> None:
    torch.compiler.reset()
    fuse = LevelFusion([[1], [0, 1, 2, 3]], fusion=fusion, levels=PYRAMID)

    def step(levels: dict[int, Tensor], groups: Tensor) -> tuple:
        return fuse(levels, nn.Identity(), GRID, groups), fuse.log_values()

    levels, groups = pyramid_outputs(), torch.zeros(1, 96, dtype=torch.bool)
    traced = torch.compile(step, fullgraph=True, backend='eager')
    torch.testing.assert_close(traced(levels, groups), step(levels, groups))


# --- groups: two images in one ---------------------------------------------------


def two_groups(rows: int, side: int, grid: tuple[int, int]) -> Tensor:
    """Labels (rows, L') of random cells, each of them side x side tokens."""
    cells = torch.rand(rows, *grid) < 0.5
    cells[:, 0, 0], cells[:, -1, -1] = False, True
    return cells.repeat_interleave(side, 1).repeat_interleave(side, 2).flatten(1)


@pytest.mark.parametrize('rows', [1, 2])
@pytest.mark.parametrize('levels', [((16, 32),) * 4, PYRAMID], ids=['plain', 'pyramid'])
def test_attention_never_crosses_groups(levels: tuple, rows: int) -> None:
    torch.manual_seed(1)
    fuse = shaken(LevelFusion('all', fusion='attention', levels=levels))
    sides = [32 // stride for _, stride in levels]
    stem = two_groups(rows, sides[0], GRID)
    labels = labels_of_cells(stem, GRID)
    assert labels.shape == (rows, 6)

    x, y = {}, {}
    for i, (channels, _) in enumerate(levels):
        x[i] = torch.randn(2, 6 * sides[i] ** 2, channels)
        at_level = labels.view(rows, *GRID)
        at_level = at_level.repeat_interleave(sides[i], 1)
        at_level = at_level.repeat_interleave(sides[i], 2).flatten(1)
        other = torch.randn_like(x[i])  # where the second image shows
        y[i] = torch.where(at_level[..., None], other, x[i])

    before = fuse(x, nn.Identity(), GRID, stem)[0]
    after = fuse(y, nn.Identity(), GRID, stem)[0]
    moved = (before != after).any(-1)  # (2, 6)
    assert torch.equal(moved, labels.expand(2, -1))
    everybody = fuse(y, nn.Identity(), GRID)[0]
    assert (fuse(x, nn.Identity(), GRID)[0] != everybody).any(-1).all()


def test_mixed_images_never_meet_in_the_neck(
    build_mim: Callable[..., MIM], random_mask: Callable[..., Tensor]
) -> None:
    model = build_mim(
        dict(class_token=False),
        corruption=dict(type='MixImages'),
        neck=dict(type='LevelFusion', outputs='all', fusion='attention'),
    )
    images, mask = torch.randn(2, 3, 16, 40), random_mask(1, 10, 5)
    before, _ = model.complete(images, mask)
    images[1] += 1  # mixture 0 shows it where the mask is True, 1 elsewhere
    after, _ = model.complete(images, mask)
    moved = (before[0] != after[0]).any(-1)
    assert torch.equal(moved, torch.stack([mask[0], ~mask[0]]))


def test_labels_of_cells() -> None:
    assert labels_of_cells(torch.tensor([[0, 1, 2, 3, 4, 5]]), (3, 2)).tolist() == [
        [0, 1, 2, 3, 4, 5]
    ]
    stem = torch.arange(6).view(1, 2, 3).repeat_interleave(4, 1).repeat_interleave(4, 2)
    assert labels_of_cells(stem.flatten(1), (2, 3)).tolist() == [[0, 1, 2, 3, 4, 5]]
