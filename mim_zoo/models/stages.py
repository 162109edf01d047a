"""Architectures in stages: the numbers of ``MixMIMViT`` (2205.13137), checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HIERARCHICAL_ARCHS: dict[str, dict[str, Any]] = {
    # for 32 px: 16 x 16 tokens, then 8 x 8; of the width and depth of a plain ViT
    'micro': dict(
        embed_dim=48, depths=(1, 5), num_heads=(2, 4), windows=(8, 8), patch_size=2
    ),
    'tiny': dict(
        embed_dim=96, depths=(2, 10), num_heads=(3, 6), windows=(8, 8), patch_size=2
    ),
    'base': dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    'large': dict(embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)),
    'huge': dict(embed_dim=352, depths=(2, 2, 18, 2), num_heads=(11, 22, 44, 88)),
}
DEFAULTS = dict(windows=(14, 14, 14, 7), patch_size=4, mlp_ratio=4.0)  # at 224 px
PER_STAGE = ('depths', 'num_heads', 'windows')


@dataclass(frozen=True)
class StageSpec:
    """Numbers of one stage: width, blocks, heads, window, pixels of a token."""

    dim: int
    depth: int
    num_heads: int
    window: int
    stride: int
    mlp_ratio: float


def read_stages(arch: str | dict, windows: Sequence[int] | None) -> list[StageSpec]:
    """The stages of an architecture given by name or as a dict; ``windows`` win."""
    spec = {**DEFAULTS, **_named(arch)}
    if windows is not None:
        spec['windows'] = windows
    for key in PER_STAGE:
        _check_numbers(key, spec[key])
    parts = [spec[key] for key in PER_STAGE]
    if len({len(part) for part in parts}) > 1:
        raise ValueError(
            f'arch: got depths {parts[0]}, num_heads {parts[1]} and windows {parts[2]} '
            '(windows are those of 224 px unless given), expected as many of each, one '
            'per stage'
        )
    return [
        StageSpec(
            dim=spec['embed_dim'] * 2**s,
            depth=depth,
            num_heads=heads,
            window=window,
            stride=spec['patch_size'] * 2**s,
            mlp_ratio=spec['mlp_ratio'],
        )
        for s, (depth, heads, window) in enumerate(zip(*parts))
    ]


def _named(arch: str | dict) -> dict[str, Any]:
    if isinstance(arch, str):
        if arch not in HIERARCHICAL_ARCHS:
            raise ValueError(
                f'arch: got {arch!r}, expected one of {list(HIERARCHICAL_ARCHS)} or '
                'dict(embed_dim=..., depths=..., num_heads=...)'
            )
        return HIERARCHICAL_ARCHS[arch]
    needed, optional = HIERARCHICAL_ARCHS['base'].keys(), DEFAULTS.keys()
    if missing := needed - arch.keys():
        raise ValueError(f'arch {arch}: lacks {sorted(missing)}')
    if unknown := arch.keys() - needed - optional:
        raise ValueError(
            f'arch {arch}: got {sorted(unknown)}, expected {sorted(needed)} and '
            f'perhaps {sorted(optional)}'
        )
    return arch


def _check_numbers(key: str, values: Any) -> None:
    fine = isinstance(values, Sequence) and not isinstance(values, str)
    if not (fine and values and all(isinstance(v, int) and v > 0 for v in values)):
        raise ValueError(
            f'{key}: got {values!r}, expected whole numbers above 0, one per stage, '
            f'such as {HIERARCHICAL_ARCHS["base"].get(key, DEFAULTS.get(key))}'
        )
