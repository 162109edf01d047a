"""A data set of shapes to try detection and segmentation on, drawn on the spot.

Coloured shapes on textured backgrounds, that hide parts of one another. Only the
outline tells the class: colour, texture, area, place and rotation are drawn alike for
all. Legend: H x W pixels, N points of an outline, (x, y) in pixels from the corner.
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

SMALLEST = 32  # pixels a side of an image
_SIDES = (0.15, 0.45)  # root of a shape's area, of the image's shorter side
_LEAST_SIDE = 8  # pixels, at which the outlines still differ
_TRIES = 20  # per wanted shape
_FINER = 4  # samples per pixel each way, for smooth edges
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 95)


def _polar(radii: Sequence[float]) -> np.ndarray:
    """Points (N, 2) at these distances from the middle, at equal angles."""
    angles = np.arange(len(radii)) * (2 * math.pi / len(radii))
    return np.stack([np.cos(angles), np.sin(angles)], 1) * np.array(radii)[:, None]


def _of_area_one(points: np.ndarray) -> np.ndarray:
    x, y = points.T
    area = abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2
    return points / math.sqrt(area)


def _cross(arm: float) -> np.ndarray:
    quarter = np.array([(1, -arm), (1, arm), (arm, arm)])
    turn = np.array([(0, 1), (-1, 0)])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


_OUTLINES = {
    'circle': _of_area_one(_polar([1] * 96)),
    'square': _of_area_one(_polar([1] * 4)),
    'triangle': _of_area_one(_polar([1] * 3)),
    'star': _of_area_one(_polar([1, 0.45] * 5)),
    'cross': _of_area_one(_cross(0.35)),
}
CLASSES = tuple(_OUTLINES)


class Instance(NamedTuple):
    """A shape of a scene.

    ``label`` is its class, from 1: ``CLASSES[label - 1]``. ``mask`` (H, W) is True
    where the shape is seen, so the masks of a scene share no pixel.
    """

    label: int
    mask: np.ndarray


def draw_scene(
    size: tuple[int, int],
    rng: np.random.Generator,
    shapes: tuple[int, int] = (1, 6),
    visible: float = 0.5,
) -> tuple[np.ndarray, list[Instance]]:
    """Draw an image (H, W, 3), uint8 RGB, and its shapes from the back to the front.

    Args:
        size: height and width, at least 32 pixels each.
        rng: where everything random comes from.
        shapes: the least and the most shapes; fewer where no more fit, never none.
        visible: share of its pixels, up to 1, that of every shape is in the image and
            not hidden.
    """
    _check_scene(size, shapes, visible)
    image: np.ndarray = rng.uniform(40, 216, 3) + _texture(size, rng)
    owner: np.ndarray = np.zeros(size, np.int64)  # (H, W), the shape on top, from 1
    labels: list[int] = []
    whole: list[int] = []
    wanted, tries = int(rng.integers(shapes[0], shapes[1] + 1)), 0
    while len(labels) < wanted and (tries < _TRIES * wanted or not labels):
        tries += 1
        label = int(rng.integers(len(CLASSES))) + 1
        cover, pixels = _random_cover(CLASSES[label - 1], size, rng)
        inside = cover > 0.5
        after = np.where(inside, len(labels) + 1, owner)
        seen = np.bincount(after.ravel(), minlength=len(labels) + 2)[1:]
        if (seen < visible * np.array([*whole, pixels])).any():
            continue
        owner = after
        labels.append(label)
        whole.append(pixels)
        # At least 64 of 256 from what lies below, in every channel.
        colour = (image[inside].mean(0) + rng.uniform(64, 192, 3)) % 256
        paint = colour + 0.5 * _texture(size, rng)
        image += cover[..., None] * (paint - image)
    image = np.rint(np.clip(image, 0, 255)).astype(np.uint8)
    return image, [Instance(k, owner == i + 1) for i, k in enumerate(labels)]


def _texture(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise at every scale, a gradient and stripes, (H, W, 3) around 0."""
    height, width = size
    field = np.zeros((height, width, 3))
    for power in range(1, int(math.log2(min(size)))):
        cells = (height // 2**power + 1, width // 2**power + 1, 3)
        noise: np.ndarray = rng.normal(0, rng.uniform(2, 14), cells)
        noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        field += np.asarray(noise, np.float64)
    y, x = np.mgrid[:height, :width]
    for stripes in (False, True):
        angle = rng.uniform(0, 2 * math.pi)
        along = math.cos(angle) * (x - width / 2) + math.sin(angle) * (y - height / 2)
        along /= min(size)
        if stripes:
            period = rng.uniform(4 / min(size), 0.4)
            along = np.sin(2 * math.pi * (along / period + rng.uniform()))
        field += along[..., None] * rng.uniform(-50, 50, 3)
    return field


def _random_cover(
    name: str, size: tuple[int, int], rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """A shape somewhere: the share (H, W) of each pixel, and the whole one's pixels."""
    height, width = size
    low, high = (share * min(size) for share in _SIDES)
    side = rng.uniform(max(low, _LEAST_SIDE), high)
    angle = rng.uniform(0, 2 * math.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    turned = _OUTLINES[name] @ np.array([(cos, sin), (-sin, cos)])
    points = side * turned + rng.uniform((0, 0), (width, height))
    left, top = np.floor(points.min(0)).astype(int)
    right, bottom = np.ceil(points.max(0)).astype(int)
    fine = np.zeros(((bottom - top) * _FINER, (right - left) * _FINER), np.float32)
    # OpenCV's whole numbers are middles of pixels; here in 1/256 of one.
    fixed = np.rint(((points - (left, top)) * _FINER - 0.5) * 256).astype(np.int32)
    cv2.fillPoly(fine, [fixed], (1.0,), shift=8)
    patch = cv2.resize(fine, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    cover = np.zeros(size)
    rows = slice(max(top, 0), min(bottom, height))
    columns = slice(max(left, 0), min(right, width))
    cover[rows, columns] = patch[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return cover, int((patch > 0.5).sum())


def class_map(instances: Sequence[Instance], size: tuple[int, int]) -> np.ndarray:
    """The class of every pixel, (H, W) uint8; 0 is background."""
    labels = np.zeros(size, np.uint8)
    for instance in instances:
        labels[instance.mask] = instance.label
    return labels


def mask_polygons(mask: np.ndarray) -> list[list[int]]:
    """Polygons [x0, y0, x1, y1, ...] along the edges of the pixels of a mask (H, W).

    Their union is the mask, to the pixel; COCO's polygons have no holes, so a part
    with a hole is cut in two there.
    """
    count, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    polygons = []
    for part in (parts == k for k in range(1, count)):
        # At 2 x 2 the contour has a point of its own on each side of a pixel.
        doubled = part.astype(np.uint8).repeat(2, 0).repeat(2, 1)
        contours, tree = cv2.findContours(
            doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        holes = [c for c, (*_, parent) in zip(contours, tree[0]) if parent >= 0]
        if holes:
            x = holes[0][:, 0, 0]
            middle = (int(x.min()) + int(x.max())) // 4
            left = part & (np.arange(part.shape[1]) < middle)
            polygons += mask_polygons(left) + mask_polygons(part & ~left)
        else:
            polygons.append(_corners((contours[0][:, 0] + 1) // 2).ravel().tolist())
    return polygons


def _corners(points: np.ndarray) -> np.ndarray:
    """Those points (N, 2) of a closed line at which it turns."""
    points = points[(points != np.roll(points, 1, 0)).any(1)]
    steps = np.roll(points, -1, 0) - points
    return points[(steps != np.roll(steps, 1, 0)).any(1)]


def make_shapes(
    folder: str | Path,
    train: int = 200,
    val: int = 50,
    size: tuple[int, int] = (128, 128),
    seed: int = 0,
    shapes: tuple[int, int] = (1, 6),
    visible: float = 0.5,
) -> dict[str, int]:
    """Write a data set for detection and segmentation; how many shapes each split has.

    ``images/SPLIT/00000.jpg``, ``annotations/SPLIT/00000.png`` (8-bit class maps, 0 is
    background), ``SPLIT.json`` (COCO's instances, of what is seen of each) and
    ``classes.txt`` (``background`` first), SPLIT being train and val. An image follows
    from the seed, its split and its number: a bigger set begins with a smaller one.

    Args:
        folder: a new or an empty one; anything else is a ``ValueError``.
        train: images to train on.
        val: images held out.
        size: height and width in pixels, at least 32 each.
        seed: a whole number from 0.
        shapes, visible: as in ``draw_scene``.
    """
    _check_scene(size, shapes, visible)
    for name, value, least in (('train', train, 1), ('val', val, 1), ('seed', seed, 0)):
        _check_whole(name, value, least)
    folder = Path(folder)
    _check_free(folder)
    written = {}
    for number, (split, count) in enumerate((('train', train), ('val', val))):
        rngs = (np.random.default_rng([seed, number, i]) for i in range(count))
        scenes = (draw_scene(size, rng, shapes, visible) for rng in rngs)
        written[split] = _write_split(folder, split, scenes)
    names = '\n'.join(('background', *CLASSES))
    (folder / 'classes.txt').write_text(names + '\n', encoding='utf-8')
    return written


def _write_split(folder: Path, split: str, scenes: Iterable[tuple]) -> int:
    pictures, maps = folder / 'images' / split, folder / 'annotations' / split
    pictures.mkdir(parents=True)
    maps.mkdir(parents=True)
    images: list[dict] = []
    annotations: list[dict] = []
    for i, (image, instances) in enumerate(scenes):
        height, width = image.shape[:2]
        _write(pictures / f'{i:05d}.jpg', image[..., ::-1], _JPEG)
        _write(maps / f'{i:05d}.png', class_map(instances, (height, width)))
        entry = {'id': i + 1, 'file_name': f'{i:05d}.jpg'}
        images.append({**entry, 'width': width, 'height': height})
        for instance in instances:
            ids = {'id': len(annotations) + 1, 'image_id': i + 1}
            annotations.append({**ids, **_annotation(instance)})
    index = {
        'info': {'description': f'shapes drawn by mim_zoo, {split}'},
        'images': images,
        'annotations': annotations,
        'categories': [{'id': k + 1, 'name': name} for k, name in enumerate(CLASSES)],
    }
    (folder / f'{split}.json').write_text(json.dumps(index), encoding='utf-8')
    return len(annotations)


def _annotation(instance: Instance) -> dict[str, Any]:
    return {
        'category_id': instance.label,
        'bbox': list(cv2.boundingRect(instance.mask.astype(np.uint8))),  # x, y, w, h
        'area': int(instance.mask.sum()),
        'iscrowd': 0,
        'segmentation': mask_polygons(instance.mask),
    }


def _write(path: Path, image: np.ndarray, options: Sequence[int] = ()) -> None:
    _, data = cv2.imencode(path.suffix, image, options)
    path.write_bytes(data.tobytes())  # cv2.imwrite would not tell of a full disk


def _check_scene(size: Any, shapes: Any, visible: float) -> None:
    for name, pair, least in (('size', size, SMALLEST), ('shapes', shapes, 1)):
        if not isinstance(pair, Sequence) or len(pair) != 2:
            raise ValueError(f'shapes: got {name}={pair!r}, expected 2 whole numbers')
        for value in pair:
            _check_whole(name, value, least)
    if shapes[0] > shapes[1]:
        raise ValueError(
            f'shapes: got shapes={shapes!r}, expected the least first, then the most'
        )
    if not 0 < visible <= 1:
        raise ValueError(f'shapes: got visible={visible}, expected 0 < visible <= 1')


def _check_whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int | np.integer) or value < least:
        raise ValueError(
            f'shapes: got {value!r} for {name}, expected a whole number from {least} on'
        )


def _check_free(folder: Path) -> None:
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(
            f'shapes: got "{folder}", which exists, expected a new or an empty folder: '
            'nothing is overwritten. Fix: name another one.'
        )
