"""Pictures of what a model reconstructs.

Legend: B images, V views, L patches, D target size.
"""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose
from mmengine.logging import print_log
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mim_zoo.datasets import (
    CenterCrop,
    ImageFolder,
    LoadImage,
    PackInputs,
    Resize,
    UnreadableImageError,
    collate_readable,
)
from mim_zoo.datasets.transforms import covering
from mim_zoo.models.encoder import Encoder
from mim_zoo.models.mim import MIM
from mim_zoo.models.targets import patchify, unpatchify

COLUMNS = ('original', 'masked', 'prediction', 'pasted')
GREY = 128
MANY = 6  # views in one block, at most


@torch.no_grad()
def reconstruction_columns(
    model: MIM, images: Tensor, mask: Tensor
) -> tuple[dict[str, Tensor], str]:
    """Original, masked, prediction and pasted, each (V, C_in, H, W) in file units.

    images (B, C_in, H, W) are normalised, mask (B | 1, L) is True where hidden. The
    views of one image follow each other. The caption says what was used beside the
    prediction of the last decoder.
    """
    predictions, plan, target = model.reconstruct(images, mask)
    stride, size = target.stride, images.shape[-2:]
    order = [view for views in plan.views_of(len(images)) for view in views]
    views = unpatchify(plan.align(patchify(images, stride))[order], stride, size)
    drawn = target.invert(predictions[-1][order], views)
    hidden = plan.mask[order][..., None]
    hidden = hidden.expand(-1, -1, stride**2 * target.in_channels)
    hidden = unpatchify(hidden, stride, size)
    show = model.data_preprocessor.denormalize
    original, drawn = show(views), show(drawn)
    return {
        'original': original,
        'masked': torch.where(hidden, torch.full_like(original, torch.nan), original),
        'prediction': drawn,
        'pasted': torch.where(hidden, drawn, original),
    }, target.caption + (
        '; grey: the image mixed in' if len(order) > len(images) else ''
    )


def to_pixels(image: Tensor, low: Tensor, high: Tensor) -> np.ndarray:
    """(C_in, H, W) between low and high to RGB uint8 (H, W, 3); NaN becomes grey.

    One channel is drawn grey; of more than three the first three are drawn.
    """
    image = image[:3] if image.shape[0] >= 3 else image[:1].expand(3, -1, -1)
    scaled = ((image - low) / (high - low).clamp(min=1e-6) * 255).clamp(0, 255)
    scaled = torch.where(scaled.isnan(), torch.full_like(scaled, GREY), scaled)
    return scaled.round().byte().permute(1, 2, 0).cpu().numpy()


def _value_range(original: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """RGB and grey images of 8 bits are shown as they are, others stretched.

    ``std`` of the pixels tells 0..255 from 0..1.
    """
    low, high = original.min(), original.max()
    few = original.shape[0] in (1, 3) and low > -1 and high < 256
    if few and std.max() > 1:
        return original.new_tensor(0.0), original.new_tensor(255.0)
    return low, high


def draw_reconstruction(
    model: MIM, images: Tensor, mask: Tensor, note: str = '', side: int = 128
) -> np.ndarray:
    """A picture (H, W, 3) uint8: four columns per view, titles, and a caption.

    Views stand one below the other, in two blocks side by side if they are many. Small
    images are enlarged by a whole factor to at least ``side`` pixels.
    """
    columns, caption = reconstruction_columns(model, images, mask)
    factor = max(1, -(-side // max(images.shape[-2:])))
    rows = []
    for i, original in enumerate(columns['original']):
        low, high = _value_range(original, model.data_preprocessor.std)
        tiles = [to_pixels(columns[name][i], low, high) for name in COLUMNS]
        tiles = [np.kron(t, np.ones((factor, factor, 1), np.uint8)) for t in tiles]
        rows.append(_join([np.pad(t, ((2, 2), (2, 2), (0, 0))) for t in tiles], axis=1))
    blocks = 2 if len(rows) > MANY else 1
    rows += [np.full_like(rows[0], 255)] * (len(rows) % blocks)
    height = len(rows) // blocks
    grid = [_join(rows[i * height :][:height], axis=0) for i in range(blocks)]
    text = f'{caption}; {note}' if note else caption
    return _annotate(_join(grid, axis=1), COLUMNS * blocks, text)


@torch.no_grad()
def draw_batch(model: MIM, batch: dict[str, Any], note: str = '') -> np.ndarray:
    """``draw_reconstruction`` of a batch as a dataloader gives it, masks made as usual.

    ValueError when no image of it could be read or nothing makes masks for it.
    """
    if not batch:
        raise ValueError('no image could be read: there is nothing to draw')
    data = model.data_preprocessor(batch, training=False)
    if 'mask' not in data:
        raise ValueError(
            'nothing hides patches of these images, so there is nothing to draw: the '
            "model's data_preprocessor has no batch_transforms, and no masks came with "
            'the images (image files named by hand pass no pipeline of the config). '
            'Fix: model.data_preprocessor.batch_transforms=[dict('
            f"type='{model.corruption.masking}')], or images from a data set whose "
            'pipeline ends in a masking transform.'
        )
    return draw_reconstruction(model, data['inputs'], data['mask'], note)


def load_pictures(
    paths: Sequence[str | Path], encoder: Encoder, limit: int
) -> dict[str, Any]:
    """A batch from image files and folders, cut to the size the encoder is built for.

    A file of a folder that cannot be read is skipped with a warning. ValueError when a
    path is missing, a file named cannot be read, or a folder holds no image.
    """
    files: list[tuple[Path, bool]] = []  # and whether it was named itself
    for path in map(Path, paths):
        if not path.exists():
            raise ValueError(f'{path}: no such image file or folder')
        below = _pictures_below(path) if path.is_dir() else [path]
        files += [(file, path.is_file()) for file in below]
    channels = {1: 'grey', 3: 'RGB'}.get(encoder.in_channels, 'unchanged')
    pipeline = Compose(
        [
            LoadImage(channels=channels),
            partial(_cover, size=encoder.img_size),
            CenterCrop(encoder.img_size),
            PackInputs(),
        ]
    )
    items: list[dict] = []
    for path, named in files:
        if len(items) == limit:
            break
        try:
            items.append(pipeline(dict(img_path=str(path), sample_idx=len(items))))
        except UnreadableImageError as error:
            if named:
                raise
            print_log(f'Skipped: {error}', 'current', level=logging.WARNING)
    return collate_readable(items)


def _cover(results: dict, size: tuple[int, int]) -> dict:
    """Resize, keeping the aspect, until (h, w) is just covered."""
    return Resize(covering(results['img'].shape[:2], size))(results)


def _pictures_below(folder: Path) -> list[Path]:
    found = ImageFolder(str(folder))
    return [Path(found.get_data_info(i)['img_path']) for i in range(len(found))]


def _join(parts: Sequence[np.ndarray], axis: int) -> np.ndarray:
    return np.concatenate(list(parts), axis=axis)


def _annotate(grid: np.ndarray, titles: Sequence[str], caption: str) -> np.ndarray:
    """Titles above the columns, the caption below the grid."""
    bar, font = 22, ImageFont.load_default(13)
    height, width = grid.shape[:2]
    canvas = Image.new('RGB', (width, height + 2 * bar), 'white')
    canvas.paste(Image.fromarray(grid), (0, bar))
    draw = ImageDraw.Draw(canvas)
    for i, title in enumerate(titles):
        centre = (i + 0.5) * width / len(titles)
        draw.text((centre, bar / 2), title, fill='black', font=font, anchor='mm')
    draw.text((4, height + 1.5 * bar), caption, fill='black', font=font, anchor='lm')
    return np.asarray(canvas)
