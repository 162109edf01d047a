"""State dicts as the symmetric branch of dBOT names them: BEiT's format."""

import torch

DEPTH, DIM, HEADS, SIDE = 2, 24, 3, 4
TABLE, INDEX = 'relative_position_bias_table', 'relative_position_index'
ROWS = (2 * SIDE - 1) ** 2 + 3


def index_of(side: int) -> torch.Tensor:
    """As BEiT counts: offsets in rows of 2 side - 1, then class to patch, patch to
    class, class to class."""
    offsets = (2 * side - 1) ** 2
    index = torch.empty(side**2 + 1, side**2 + 1, dtype=torch.int64)
    for q in range(side**2):
        for k in range(side**2):
            down, right = q // side - k // side, q % side - k % side
            index[q + 1, k + 1] = (down + side - 1) * (2 * side - 1) + right + side - 1
    index[0, 1:], index[1:, 0], index[0, 0] = offsets, offsets + 1, offsets + 2
    return index


def blocks(scale: bool = True) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for i in range(DEPTH):
        shapes |= {
            f'blocks.{i}.{name}': shape
            for name, shape in {
                **({'gamma_1': (DIM,), 'gamma_2': (DIM,)} if scale else {}),
                'norm1.weight': (DIM,),
                'norm1.bias': (DIM,),
                'attn.q_bias': (DIM,),
                'attn.v_bias': (DIM,),
                'attn.qkv.weight': (3 * DIM, DIM),
                'attn.proj.weight': (DIM, DIM),
                'attn.proj.bias': (DIM,),
                'norm2.weight': (DIM,),
                'norm2.bias': (DIM,),
                'mlp.fc1.weight': (4 * DIM, DIM),
                'mlp.fc1.bias': (4 * DIM,),
                'mlp.fc2.weight': (DIM, 4 * DIM),
                'mlp.fc2.bias': (DIM,),
            }.items()
        }
    return shapes


def random(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {k: torch.randn(shape, generator=generator) for k, shape in shapes.items()}


STEM = {
    'cls_token': (1, 1, DIM),
    'patch_embed.proj.weight': (DIM, 3, 16, 16),
    'patch_embed.proj.bias': (DIM,),
}
NORM = {'norm.weight': (DIM,), 'norm.bias': (DIM,)}


def pre_trained() -> dict[str, torch.Tensor]:
    shapes = {
        **STEM,
        'mask_token': (1, 1, DIM),
        f'rel_pos_bias.{TABLE}': (ROWS, HEADS),
        **blocks(),
        **NORM,
        'lm_head.weight': (32, DIM),
        'lm_head.bias': (32,),
    }
    return {**random(shapes), f'rel_pos_bias.{INDEX}': index_of(SIDE)}


def fine_tuned() -> dict[str, torch.Tensor]:
    tables = {f'blocks.{i}.attn.{TABLE}': (ROWS, HEADS) for i in range(DEPTH)}
    head = {f'fc_{k}': shape for k, shape in NORM.items()}
    head |= {'head.weight': (5, DIM), 'head.bias': (5,)}
    indices = {f'blocks.{i}.attn.{INDEX}': index_of(SIDE) for i in range(DEPTH)}
    return {**random({**STEM, **blocks(), **tables, **head}), **indices}


def absolute() -> dict[str, torch.Tensor]:
    """As those that were pre-trained with absolute positions."""
    return random({**STEM, 'pos_embed': (1, SIDE**2 + 1, DIM), **blocks(), **NORM})
