"""Windows, global blocks and decomposed relative position of the plain ViT."""

import pytest
import torch
from torch import Tensor, nn

from mim_zoo.models import MIMViT
from mim_zoo.models.grid_attention import GridAttention, attention, offsets_of
from mim_zoo.models.layers import Attention
from mim_zoo.models.windows import cut

DIM, HEADS = 16, 2
Size = tuple[int, int]


def layer(side: Size | None) -> GridAttention:
    made = GridAttention(DIM, HEADS, side).double()
    for name, parameter in made.named_parameters():
        if name.startswith('rel_pos'):
            nn.init.normal_(parameter)
    return made


def run(made: GridAttention, x: Tensor, grid: Size, window: int, groups=None) -> Tensor:
    return made(x, grid, cut(grid, window, groups, x.device))


def dense(
    made: GridAttention, x: Tensor, grid: Size, window: int, groups: Tensor | None
) -> Tensor:
    """Pair by pair, from the definition: q.k / sqrt(D) + q.R_h + q.R_w."""
    B, L, C = x.shape
    D = C // HEADS
    q, k, v = made.qkv(x).view(B, L, 3, HEADS, D).permute(2, 0, 3, 1, 4)
    scores = q @ k.mT / D**0.5
    place = [(i // grid[1], i % grid[1]) for i in range(L)]
    for i, (y, x_) in enumerate(place):
        for j, (y2, x2) in enumerate(place):
            if (y // window, x_ // window) != (y2 // window, x2 // window):
                scores[:, :, i, j] = float('-inf')
            elif made.side:
                h, w = made.side
                offset = (
                    made.rel_pos_h[y - y2 + h - 1] + made.rel_pos_w[x_ - x2 + w - 1]
                )
                scores[:, :, i, j] += q[:, :, i] @ offset
    if groups is not None:
        scores[
            (groups[:, :, None] != groups[:, None])
            .expand(B, L, L)[:, None]
            .expand_as(scores)
        ] = float('-inf')
    return made.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(B, L, C))


@pytest.mark.parametrize('side', [None, (3, 3), (4, 4)])
@pytest.mark.parametrize('grid', [(6, 6), (5, 7), (2, 4)])
@pytest.mark.parametrize('grouped', [False, True])
def test_it_is_the_sum_of_the_definition(side, grid: Size, grouped: bool) -> None:
    made = layer(side)
    x = torch.randn(2, grid[0] * grid[1], DIM, dtype=torch.double)
    groups = torch.rand(2, x.shape[1]) < 0.5 if grouped else None
    found = run(made, x, grid, 3, groups)
    torch.testing.assert_close(found, dense(made, x, grid, 3, groups))


def test_gradients_reach_tables_and_queries() -> None:
    made, grid = layer((5, 4)), (5, 4)
    x = torch.randn(1, 20, DIM, dtype=torch.double, requires_grad=True)
    weight = torch.randn(1, 20, DIM, dtype=torch.double)
    wanted = [x, made.rel_pos_h, made.rel_pos_w, made.qkv.weight]
    one = torch.autograd.grad((run(made, x, grid, 9) * weight).sum(), wanted)
    other = torch.autograd.grad((dense(made, x, grid, 9, None) * weight).sum(), wanted)
    torch.testing.assert_close(one, other)


def test_without_tables_a_whole_window_is_plain_attention() -> None:
    made, plain = GridAttention(DIM, HEADS, None), Attention(DIM, HEADS)
    made.load_state_dict(plain.state_dict())
    x = torch.randn(2, 12, DIM)
    torch.testing.assert_close(run(made, x, (3, 4), 4), plain(x))


def test_tables_start_without_an_opinion() -> None:
    made, plain = GridAttention(DIM, HEADS, (3, 4)), Attention(DIM, HEADS)
    made.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 12, DIM)
    torch.testing.assert_close(run(made, x, (3, 4), 4), plain(x))


def test_shorter_axes_use_the_middle_of_a_table_and_longer_ones_stretch_it() -> None:
    table = torch.arange(7.0)[:, None].expand(7, 2)  # of 4 places, 3 is no offset
    assert offsets_of(table, 2)[:, :, 0].tolist() == [[3, 2], [4, 3]]
    longer = offsets_of(table, 6)[:, :, 0]
    assert longer.diagonal().tolist() == [3] * 6
    assert longer[5, 0] > longer[4, 0] > longer[1, 0] > 3 > longer[0, 5]


def test_values_may_be_narrower_than_keys() -> None:
    q, k = torch.randn(2, 1, 3, 2, 5, 16).unbind()
    v = torch.randn(1, 3, 2, 5, 8)
    expected = ((q @ k.mT * 0.5).softmax(-1) @ v).transpose(2, 3)
    torch.testing.assert_close(attention(q, k, v, None, 0.5), expected)


def vit(**changes) -> MIMViT:
    arch = dict(embed_dim=DIM, depth=3, num_heads=HEADS)
    options = dict(img_size=32, patch_size=4, class_token=False, **changes)
    return MIMViT(arch, **options).eval()


def test_windows_as_large_as_the_image_are_no_windows() -> None:
    plain, windowed = vit(), vit(window=8, rel_pos='decomposed')
    windowed.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(windowed(images)[0], plain(images)[0])


def test_only_global_blocks_look_out_of_a_window() -> None:
    images = torch.randn(1, 3, 32, 24)  # 8 x 6 tokens
    other = images.clone()
    other[..., :16, :16] += 1  # the first window of 4 x 4
    for blocks, reach in (((), False), ((1,), True), ((-1,), True)):
        encoder = vit(window=4, global_blocks=blocks, rel_pos='decomposed')
        moved = (encoder(images)[0] - encoder(other)[0])[0].abs().sum(0) > 1e-6
        assert moved[:4, :4].all()
        assert bool(moved[4:].any() or moved[:, 4:].any()) is reach


def test_tables_have_the_size_of_windows_or_of_the_image() -> None:
    encoder = vit(window=3, global_blocks=[2], rel_pos='decomposed')
    sides = [len(block.attn.rel_pos_h) for block in encoder.blocks]
    assert sides == [5, 5, 15]
    larger = MIMViT(
        dict(embed_dim=DIM, depth=3, num_heads=HEADS),
        **dict(img_size=64, patch_size=4, class_token=False, window=3),
        **dict(global_blocks=[2], rel_pos='decomposed'),
    )
    for block in encoder.blocks:
        nn.init.normal_(block.attn.rel_pos_w)
    larger.load_state_dict(encoder.state_dict())
    assert torch.equal(
        larger.blocks[0].attn.rel_pos_w, encoder.blocks[0].attn.rel_pos_w
    )
    assert len(larger.blocks[2].attn.rel_pos_w) == 31


def test_a_class_token_of_a_file_is_left_behind() -> None:
    plain = MIMViT(dict(embed_dim=DIM, depth=3, num_heads=HEADS), 32, 4)
    windowed = vit(window=4, rel_pos='decomposed')
    missing = windowed.load_state_dict(plain.state_dict(), strict=False)
    assert missing.unexpected_keys == ['cls_token']
    assert all('rel_pos' in key for key in missing.missing_keys)
    torch.testing.assert_close(windowed.pos_embed, plain.pos_embed[:, 1:])


def test_recomputed_blocks_give_the_same_gradients() -> None:
    plain = vit(window=3, global_blocks=[1], rel_pos='decomposed')
    again = vit(window=3, global_blocks=[1], rel_pos='decomposed', with_cp=True)
    again.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 32, 32)
    for encoder in (plain, again):
        encoder(images)[0].square().sum().backward()
    for one, other in zip(plain.parameters(), again.parameters()):
        torch.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize('size', [(32, 32), (40, 24)])
def test_one_graph_with_windows(size: Size) -> None:
    encoder = vit(window=3, global_blocks=[1], rel_pos='decomposed')
    images = torch.randn(1, 3, *size)
    traced = torch.compile(encoder, backend='aot_eager', fullgraph=True)
    torch.testing.assert_close(traced(images)[0], encoder(images)[0])


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_is_near(dtype: torch.dtype) -> None:
    made, x = layer((8, 8)), torch.randn(2, 64, DIM, dtype=torch.double)
    exact = run(made, x, (8, 8), 8)
    half = run(made.to(dtype), x.to(dtype), (8, 8), 8).double()
    assert (half - exact).abs().mean() < 0.02 * exact.abs().mean()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_a_gpu_takes_values_narrower_than_keys(dtype: torch.dtype) -> None:
    made, x = layer((8, 6)).float(), torch.randn(2, 48, DIM)
    expected = run(made, x, (8, 6), 8)
    found = run(made.cuda().to(dtype), x.cuda().to(dtype), (8, 6), 8)
    rough = dict(rtol=0.05, atol=0.05) if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(found.float().cpu(), expected, **rough)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(global_blocks=[1]), 'got window=None'),
        (dict(window=0), 'window: got 0'),
        (dict(window=4, rel_pos='block'), "expected rel_pos='decomposed'"),
        (dict(window=4, class_token=True), 'set class_token=False'),
        (dict(rel_pos='decomposed', class_token=True), 'set class_token=False'),
        (dict(window=4, global_blocks=[3]), 'global_blocks: got index 3'),
        (dict(rel_pos='rows'), "rel_pos: got 'rows'"),
    ],
)
def test_what_does_not_go_together(options: dict, message: str) -> None:
    arch = dict(embed_dim=DIM, depth=3, num_heads=HEADS)
    with pytest.raises(ValueError, match=message):
        MIMViT(arch, 32, 4, **{'class_token': False, **options})


def test_no_token_may_be_missing() -> None:
    encoder = vit(window=4)
    with pytest.raises(ValueError, match='expected a token at each of 8 x 8'):
        encoder.encode(torch.randn(1, 16, DIM), [-1], (32, 32))
