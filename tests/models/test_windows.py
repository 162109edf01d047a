"""Window attention against one dense computation over the whole grid."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mim_zoo.models import biased_attention
from mim_zoo.models.windows import WindowAttention, cut, relative_index, resample_bias

HEADS, DIM = 2, 12


def attention(window: int) -> WindowAttention:
    torch.manual_seed(0)
    layer = WindowAttention(DIM, HEADS, window)
    layer.reset_parameters()
    return layer.eval()


def dense(
    layer: WindowAttention,
    x: Tensor,
    grid: tuple[int, int],
    window: int,
    groups: Tensor | None,
) -> Tensor:
    """Every token against every other, written out from the definition."""
    h, w = grid
    y, z = torch.arange(h).repeat_interleave(w), torch.arange(w).repeat(h)
    wh, ww = min(window, h), min(window, w)
    near = (y[:, None] // wh == y // wh) & (z[:, None] // ww == z // ww)
    allowed = near[None]
    if groups is not None:
        allowed = near & (groups[:, :, None] == groups[:, None, :])
    q, k, v = layer.qkv(x).view(len(x), h * w, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-1, -2) * (DIM // HEADS) ** -0.5
    side = 2 * window - 1
    table = layer.relative_position_bias_table.view(side, side, HEADS)
    dy = (y[:, None] - y + window - 1).clamp(0, side - 1)
    dx = (z[:, None] - z + window - 1).clamp(0, side - 1)
    scores = scores + table[dy, dx].permute(2, 0, 1)
    scores = scores.masked_fill(~allowed[:, None], float('-inf'))
    x = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    return layer.proj(x)


@pytest.mark.parametrize('kind', ['no groups', 'shared', 'one per image'])
@pytest.mark.parametrize('window', [3, 4, 7])
@pytest.mark.parametrize('grid', [(8, 8), (4, 12), (5, 7), (9, 3), (1, 6), (7, 7)])
def test_it_is_attention_within_windows_and_groups(
    grid: tuple[int, int], window: int, kind: str
) -> None:
    layer = attention(window)
    x = torch.randn(3, grid[0] * grid[1], DIM)
    rows = {'no groups': 0, 'shared': 1, 'one per image': 3}[kind]
    groups = torch.rand(rows, x.shape[1]) < 0.5 if rows else None
    regions = cut(grid, window, groups, x.device, window)
    found = layer(x, grid, regions)
    torch.testing.assert_close(found, dense(layer, x, grid, window, groups))


def test_labels_may_be_numbers() -> None:
    layer = attention(4)
    x, labels = torch.randn(2, 64, DIM), torch.randint(0, 3, (1, 64))
    found = layer(x, (8, 8), cut((8, 8), 4, labels, x.device, 4))
    torch.testing.assert_close(found, dense(layer, x, (8, 8), 4, labels))


@pytest.mark.parametrize('window', [2, 7])
def test_the_index_is_swin_s(window: int) -> None:
    coords = torch.stack(
        torch.meshgrid(torch.arange(window), torch.arange(window), indexing='ij')
    ).flatten(1)
    offset = coords[:, :, None] - coords[:, None] + window - 1
    expected = offset[0] * (2 * window - 1) + offset[1]
    index = relative_index((window, window), window, torch.device('cpu'))
    assert torch.equal(index.view(window**2, -1), expected)


def shapes_given(
    monkeypatch: pytest.MonkeyPatch, groups: Tensor | None
) -> list[tuple[torch.Size, torch.Size]]:
    seen = []

    def watch(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor) -> Tensor:
        seen.append((q.shape, attn_mask.shape))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)

    class Watched:
        scaled_dot_product_attention = staticmethod(watch)

    monkeypatch.setattr(biased_attention, 'F', Watched)
    x = torch.randn(6, 64, DIM)
    with torch.no_grad():
        attention(4)(x, (8, 8), cut((8, 8), 4, groups, x.device, 4))
    return seen


def test_a_shared_mask_is_never_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    ((q, bias),) = shapes_given(monkeypatch, torch.rand(1, 64) < 0.5)
    assert q == (6, 4 * HEADS, 16, DIM // HEADS)
    assert bias == (1, 4 * HEADS, 16, 16)  # one per window, none per image
    ((q, bias),) = shapes_given(monkeypatch, None)
    assert q == (6 * 4, HEADS, 16, DIM // HEADS)
    assert bias == (1, HEADS, 16, 16)  # one for all windows


def test_bias_tables_are_resampled() -> None:
    table = torch.randn(27**2, 4)
    assert resample_bias(table, 27) is table
    larger = resample_bias(table, 31)
    assert larger.shape == (31**2, 4)
    for head in range(4):
        one = F.interpolate(table[:, head].view(1, 1, 27, 27), (31, 31), mode='bicubic')
        torch.testing.assert_close(larger[:, head].view(31, 31), one[0, 0])
    flat = resample_bias(torch.full((9, 2), 3.0), 13)
    torch.testing.assert_close(flat, torch.full((169, 2), 3.0))


def test_weights_of_another_window_load() -> None:
    old, new = attention(3), attention(5)
    state = old.state_dict()
    state['relative_position_index'] = torch.zeros(9, 9, dtype=torch.long)  # Swin's
    new.load_state_dict(state)
    torch.testing.assert_close(
        new.relative_position_bias_table,
        resample_bias(old.relative_position_bias_table, 9),
    )
    assert torch.equal(new.qkv.weight, old.qkv.weight)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match='width 10 cannot be split over 3'):
        WindowAttention(10, 3, 4)
