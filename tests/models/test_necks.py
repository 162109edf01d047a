"""Which levels are used, how they are fused, and what is logged of it."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from mim_zoo.models import MIM, LevelFusion
from mim_zoo.models.necks import AttentionFusion, WeightedFusion

Build = Callable[..., MIM]

LEVELS = ((8, 4),) * 4
GRID = (2, 2)


def outputs_of_blocks() -> dict[int, Tensor]:
    torch.manual_seed(0)
    return {i: torch.randn(2, 5, 8) for i in range(4)}


def double(x: Tensor) -> Tensor:
    """Stands for the encoder's norm; easy to tell."""
    return 2 * x


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return double(x)


def shaken(fuse: LevelFusion) -> LevelFusion:
    """With random parameters, biases and shares of levels too."""
    with torch.no_grad():
        for parameter in fuse.parameters():
            parameter.normal_(std=0.5)
    return fuse


# --- which levels ----------------------------------------------------------------


def test_single_levels_are_handed_on() -> None:
    levels = outputs_of_blocks()
    fuse = LevelFusion([[1], [-1], [0]], levels=LEVELS)
    assert fuse.taps == [0, 1, 3]
    assert fuse.out_channels == [8, 8, 8]
    assert not list(fuse.parameters())
    first, last, zeroth = fuse(levels, Double(), GRID)
    assert torch.equal(first, levels[1])  # raw
    assert torch.equal(last, double(levels[3]))  # normed: it holds the last block
    assert torch.equal(zeroth, levels[0])


def test_default_is_the_last_level() -> None:
    levels = outputs_of_blocks()
    (only,) = LevelFusion(levels=LEVELS)(levels, Double(), GRID)
    assert torch.equal(only, double(levels[3]))


def test_one_list_with_one_index_has_nothing_to_train() -> None:
    for fusion in ('weighted', 'attention'):
        fuse = LevelFusion([[-1]], proj='mlp', fusion=fusion, levels=LEVELS)
        assert not fuse.state_dict()


def test_all_is_one_output_of_every_block() -> None:
    every = LevelFusion('all', levels=LEVELS)
    assert every.outputs == [[0, 1, 2, 3]]
    assert every.taps == [0, 1, 2, 3]
    assert len(every.fusions[0].proj_layers) == 3
    assert list(every.log_values()) == [f'fusion_weight_{i}' for i in range(4)]


def test_the_order_in_a_list_does_not_matter() -> None:
    a = LevelFusion([[3, 0, 2]], levels=LEVELS)
    assert a.outputs == LevelFusion([[0, 2, -1]], levels=LEVELS).outputs


def test_blocks_that_would_never_be_trained() -> None:
    with pytest.raises(ValueError, match='without the last block'):
        LevelFusion([[0], [1, 2]], levels=LEVELS)


@pytest.mark.parametrize(
    'outputs, message',
    [
        ([], 'non-empty list'),
        ([[0], []], 'non-empty list'),
        ('every', r"got outputs='every'.*or 'all'"),
        ([[4]], r'got index 4, expected one of -4\.\.3'),
        ([[0, -5]], 'got index -5'),
        ([[1, 3, -1]], 'more than once'),
    ],
)
def test_impossible_outputs(outputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LevelFusion(outputs, levels=LEVELS)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(proj='conv'), r"got proj='conv'.*'linear', 'mlp', 'none'"),
        (dict(fusion='sum'), r"fusion='sum'.*'weighted', 'attention'"),
        (dict(proj='none'), r"proj='none' for a level of 4 channels.*16.*'linear'"),
        (dict(proj='none', fusion='attention'), 'a level of 4 channels'),
    ],
)
def test_impossible_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LevelFusion([[0, 1]], **options, levels=((4, 8), (16, 32)))


# --- how they are fused ----------------------------------------------------------


def projected(proj: str, layer: nn.Module, x: Tensor) -> Tensor:
    if proj == 'none':
        return x
    state = list(layer.state_dict().values())
    x = F.linear(x, state[0], state[1])
    if proj == 'mlp':
        assert len(state) == 4
        x = F.linear(F.gelu(x), state[2], state[3])
    return x


@pytest.mark.parametrize('proj', ['linear', 'mlp', 'none'])
@pytest.mark.parametrize('output', [[0, 2, 3], [1, 3]])
def test_weighted_fusion_is_a_weighted_sum(output: list[int], proj: str) -> None:
    levels = outputs_of_blocks()
    fuse = LevelFusion([output], proj=proj, levels=LEVELS)
    fusion = fuse.fusions[0]
    assert isinstance(fusion, WeightedFusion)
    assert len(fusion.proj_layers) == len(output) - 1
    weights = fusion.weights.flatten()
    assert weights.tolist() == pytest.approx([1 / len(output)] * len(output))

    shaken(fuse)
    weights = fusion.proj_weights.softmax(0).flatten()
    expected = weights[-1] * levels[output[-1]]
    for weight, i, layer in zip(weights, output, fusion.proj_layers):
        expected = expected + weight * projected(proj, layer, levels[i])
    expected = double(expected)  # the norm comes after the fusion
    torch.testing.assert_close(fuse(levels, Double(), GRID)[0], expected)


@pytest.mark.parametrize('proj', ['linear', 'mlp', 'none'])
@pytest.mark.parametrize('width, heads', [(8, 1), (96, 2), (128, 2), (384, 6)])
def test_attention_fusion_is_a_layer_over_all_tokens(
    proj: str, width: int, heads: int
) -> None:
    torch.manual_seed(0)
    levels = {i: torch.randn(2, 5, width) for i in range(4)}
    fuse = LevelFusion(
        [[0, 2, 3]], proj=proj, fusion='attention', levels=((width, 4),) * 4
    )
    for parameter in fuse.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    fusion = fuse.fusions[0]
    assert isinstance(fusion, AttentionFusion)
    block = fusion.block
    assert block.attn.num_heads == heads

    x = [projected(proj, p, levels[i]) for p, i in zip(fusion.proj_layers, (0, 2))]
    tokens = torch.cat([*x, levels[3]], dim=1)  # (2, 15, C)
    q, k, v = block.attn.qkv(block.norm1(tokens)).chunk(3, dim=-1)
    mixed = []
    for part in zip(*(t.chunk(heads, dim=-1) for t in (q[:, -5:], k, v))):
        scores = part[0] @ part[1].transpose(1, 2) / math.sqrt(width // heads)
        mixed.append(scores.softmax(-1) @ part[2])
    out = levels[3] + block.attn.proj(torch.cat(mixed, dim=-1))
    out = out + block.mlp(block.norm2(out))
    ours = fuse(levels, Double(), GRID)[0]
    assert ours.shape == (2, 5, width)
    torch.testing.assert_close(ours, double(out), rtol=1e-4, atol=1e-5)


def test_random_init_can_be_called_again() -> None:
    for fusion in ('weighted', 'attention'):
        fuse = shaken(LevelFusion('all', fusion=fusion, levels=LEVELS))
        fuse.fusions[0].reset_parameters()
        for name, parameter in fuse.named_parameters():
            if name.endswith(('bias', 'proj_weights')):
                value = float(name.endswith('proj_weights'))
                assert torch.equal(parameter, torch.full_like(parameter, value)), name


# --- what is logged --------------------------------------------------------------


def test_names_of_the_logged_shares() -> None:
    def names(outputs: Any, **options: Any) -> list[str]:
        return list(LevelFusion(outputs, **options, levels=LEVELS).log_values())

    assert names([[-1]]) == names([[0], [1], [3]]) == []
    assert names('all', fusion='attention') == []
    assert names([[0, 2, 3]]) == [f'fusion_weight_{i}' for i in range(3)]
    assert names([[2], [0, 3]]) == ['fusion_weight_0', 'fusion_weight_1']
    assert names([[0, 2], [1], [1, 3]]) == [
        'fusion_weight_0_0',
        'fusion_weight_0_1',
        'fusion_weight_2_0',
        'fusion_weight_2_1',
    ]


def test_shares_are_logged_by_the_runner_and_not_added(build_mim: Build) -> None:
    model = build_mim(
        neck=dict(type='LevelFusion', outputs=[[0, 1, 2]]),
        data_preprocessor=dict(
            type='MIMDataPreprocessor', batch_transforms=[dict(type='RandomMasking')]
        ),
    ).train()
    with torch.no_grad():
        model.neck.fusions[0].proj_weights.copy_(
            torch.tensor([0.0, 1.0, 3.0]).view(3, 1, 1, 1)
        )
    optim = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3))
    batch = dict(
        inputs=torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8),
        sample_idx=torch.arange(2),
        img_path=['a', 'b'],
    )
    logs = model.train_step(batch, optim)
    assert set(logs) == {'loss', 'loss_0', *(f'fusion_weight_{i}' for i in range(3))}
    assert torch.equal(logs['loss'], logs['loss_0'])
    e = math.e
    shares = [float(logs[f'fusion_weight_{i}']) for i in range(3)]
    assert shares == pytest.approx([s / (1 + e + e**3) for s in (1, e, e**3)])
    assert not logs['fusion_weight_0'].requires_grad
