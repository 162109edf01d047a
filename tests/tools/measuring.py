"""A small model to measure, and what it costs."""

from pathlib import Path

from test_cli import ROOT

MAE = 'photos/mae_vit-micro-p4_photos-32px'
CONFIG = """
_base_ = '{root}/configs/{config}.py'
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dim=16, depth=2, num_heads=2)),
    head=dict(decoder=dict(embed_dim=24, depth={depth}, num_heads=2)),
)
"""


def write(folder: Path, name: str, depth: int) -> Path:
    path = folder / f'{name}.py'
    path.write_text(CONFIG.format(root=ROOT, config=MAE, depth=depth))
    return path


def blocks(tokens: int, width: int, depth: int) -> int:
    """Operations of the matrix products of so many blocks, forward."""
    return depth * (2 * tokens * width * 12 * width + 4 * tokens**2 * width)
