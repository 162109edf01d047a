"""The options of ``MIMViT``: architectures by name, and what does not go together."""

from collections.abc import Sequence
from typing import Any

ARCHS: dict[str, dict[str, int]] = {
    'micro': dict(embed_dim=96, depth=6, num_heads=3),
    'tiny': dict(embed_dim=192, depth=12, num_heads=3),
    'small': dict(embed_dim=384, depth=12, num_heads=6),  # DeiT-S
    'base': dict(embed_dim=768, depth=12, num_heads=12),
    'large': dict(embed_dim=1024, depth=24, num_heads=16),
    'huge': dict(embed_dim=1280, depth=32, num_heads=16, patch_size=14),
}


def read_arch(arch: str | dict, known: dict[str, dict]) -> dict[str, Any]:
    """The numbers of an architecture given by name or as a dict."""
    if isinstance(arch, dict):
        needed = {'embed_dim', 'depth', 'num_heads'}
        if missing := needed - arch.keys():
            raise ValueError(f'arch {arch}: lacks {sorted(missing)}')
        if unknown := arch.keys() - needed - {'mlp_ratio'}:
            raise ValueError(
                f'arch {arch}: got {sorted(unknown)}, expected '
                f'{sorted(needed)} and perhaps mlp_ratio'
            )
        for key in needed:
            if not isinstance(arch[key], int) or arch[key] < 1:
                raise ValueError(
                    f'arch {arch}: got {key}={arch[key]!r}, expected 1 or more'
                )
        return dict(arch)
    if arch not in known:
        raise ValueError(
            f'arch: got {arch!r}, expected one of {list(known)} or '
            'dict(embed_dim=..., depth=..., num_heads=...)'
        )
    return dict(known[arch])


REL_POS = (None, 'shared', 'block', 'decomposed')


def check_positions(rel_pos: str | None, absolute: bool, learned: bool) -> None:
    """ValueError unless something tells the places of an image apart."""
    if rel_pos not in REL_POS:
        raise ValueError(f'rel_pos: got {rel_pos!r}, expected one of {REL_POS}')
    if not absolute and (learned or rel_pos is None):
        raise ValueError(
            f'absolute_pos=False: got rel_pos={rel_pos!r} and learned_pos={learned}, '
            'expected a rel_pos, and no positions to learn: nothing else would tell '
            'the places apart'
        )


def check_windows(
    window: int | None,
    global_blocks: Sequence[int],
    rel_pos: str | None,
    class_token: bool,
) -> None:
    """ValueError unless attention in windows goes with the rest."""
    if window is None and global_blocks:
        raise ValueError(
            f'global_blocks={list(global_blocks)}: got window=None, where all blocks '
            'are global; set window, or leave global_blocks out'
        )
    if window is not None and window < 1:
        raise ValueError(f'window: got {window}, expected 1 token or more, or None')
    if window is not None and rel_pos in ('shared', 'block'):
        raise ValueError(
            f"rel_pos={rel_pos!r}: got window={window}, expected rel_pos='decomposed' "
            'or None with windows: its table is for whole images'
        )
    if class_token and (window is not None or rel_pos == 'decomposed'):
        raise ValueError(
            f'class_token=True: got window={window} and rel_pos={rel_pos!r}, where '
            'every token has a place in the image; set class_token=False (a file with '
            'one still loads)'
        )
