import json
import runpy
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mim_zoo.datasets import read_image
from mim_zoo.datasets.shapes import (
    CLASSES,
    class_map,
    draw_scene,
    make_shapes,
    mask_polygons,
)

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'make_shapes.py'
SIZE = (64, 96)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'shapes'
    make_shapes(path, train=12, val=4, size=SIZE, shapes=(2, 9), visible=0.4)
    return path


def read(path):
    """Every file below a folder, by its name there."""
    files = (file for file in path.rglob('*') if file.is_file())
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def rasterised(polygons, size):
    """Pixels (H, W) inside any of the polygons, whose sides are upright or level."""
    mask = np.zeros(size, bool)
    for polygon in polygons:
        corners = np.reshape(polygon, (-1, 2))
        inside = np.zeros(size, bool)
        for (x, y), (next_x, next_y) in zip(corners, np.roll(corners, -1, 0)):
            assert (x == next_x) != (y == next_y)
            if x == next_x:
                inside[min(y, next_y) : max(y, next_y), x:] ^= True
        assert not (mask & inside).any()
        mask |= inside
    return mask


def random_masks():
    rng = np.random.default_rng(0)
    for _ in range(300):
        yield rng.random(rng.integers(1, 12, 2)) < rng.random()


def test_layout(folder):
    maps = [cv2.imread(str(f), -1) for f in (folder / 'annotations').rglob('*.png')]
    for split, count in (('train', 12), ('val', 4)):
        stems = [f'{i:05d}' for i in range(count)]
        for kind, suffix in (('images', '.jpg'), ('annotations', '.png')):
            files = sorted((folder / kind / split).iterdir())
            assert [file.name for file in files] == [stem + suffix for stem in stems]
    assert len(maps) == 16
    assert all(m.shape == SIZE and m.dtype == np.uint8 for m in maps)
    assert set(np.unique(maps)) == set(range(len(CLASSES) + 1))
    names = (folder / 'classes.txt').read_text().split()
    assert names == ['background', *CLASSES]


def test_files_hold_the_scene_of_their_number(folder):
    for i in (0, 11):
        rng = np.random.default_rng([0, 0, i])
        image, instances = draw_scene(SIZE, rng, shapes=(2, 9), visible=0.4)
        stored = read_image(folder / 'images' / 'train' / f'{i:05d}.jpg')
        assert np.abs(stored.astype(int) - image).mean() < 12  # JPEG
        labels = cv2.imread(str(folder / 'annotations' / 'train' / f'{i:05d}.png'), -1)
        assert np.array_equal(labels, class_map(instances, SIZE))


def test_the_same_seed_writes_the_same_files(folder, tmp_path):
    options = dict(size=SIZE, shapes=(2, 9), visible=0.4)
    counts = make_shapes(tmp_path / 'a', 12, 4, **options)
    assert read(tmp_path / 'a') == read(folder)
    index = json.loads((folder / 'train.json').read_text())
    assert counts['train'] == len(index['annotations']) >= 24
    make_shapes(tmp_path / 'b', 12, 4, seed=1, **options)
    a, b = read(tmp_path / 'a'), read(tmp_path / 'b')
    images = [name for name in a if name.endswith('.jpg')]
    assert len({files[name] for files in (a, b) for name in images}) == 32


def test_a_bigger_set_begins_with_a_smaller_one(folder, tmp_path):
    make_shapes(tmp_path / 'a', 5, 2, size=SIZE, shapes=(2, 9), visible=0.4)
    small, big = read(tmp_path / 'a'), read(folder)
    for name in small:
        if not name.endswith('.json'):
            assert small[name] == big[name], name
    for split in ('train', 'val'):
        few, many = (json.loads(files[f'{split}.json']) for files in (small, big))
        for key in ('images', 'annotations'):
            assert few[key] == many[key][: len(few[key])]


@pytest.mark.parametrize('split', ['train', 'val'])
def test_instances_agree_with_the_class_maps(folder, split):
    index = json.loads((folder / f'{split}.json').read_text())
    categories = {c['id']: c['name'] for c in index['categories']}
    assert categories == dict(enumerate(CLASSES, 1))
    assert len({a['id'] for a in index['annotations']}) == len(index['annotations'])
    for image in index['images']:
        own = [a for a in index['annotations'] if a['image_id'] == image['id']]
        assert (image['height'], image['width']) == SIZE
        assert cv2.imread(
            str(folder / 'images' / split / image['file_name'])
        ).shape == (
            *SIZE,
            3,
        )
        labels = np.zeros(SIZE, int)
        for annotation in own:
            mask = rasterised(annotation['segmentation'], SIZE)
            assert not labels[mask].any()
            labels[mask] = annotation['category_id']
            assert annotation['area'] == mask.sum() > 0
            assert annotation['iscrowd'] == 0
            x, y, w, h = annotation['bbox']
            assert np.flatnonzero(mask.any(0))[[0, -1]].tolist() == [x, x + w - 1]
            assert np.flatnonzero(mask.any(1))[[0, -1]].tolist() == [y, y + h - 1]
        stored = folder / 'annotations' / split / image['file_name']
        assert np.array_equal(labels, cv2.imread(str(stored.with_suffix('.png')), -1))
        assert own


def test_pycocotools_reads_the_same_masks(folder):
    coco = pytest.importorskip('pycocotools.coco').COCO(str(folder / 'train.json'))
    parts = set()
    for image in coco.loadImgs(coco.getImgIds()):
        labels = np.zeros(SIZE, int)
        for annotation in coco.loadAnns(coco.getAnnIds(image['id'])):
            mask = coco.annToMask(annotation)
            assert annotation['area'] == mask.sum()
            assert annotation['bbox'] == list(cv2.boundingRect(mask))
            labels[mask > 0] = annotation['category_id']
            parts.add(len(annotation['segmentation']))
        stored = folder / 'annotations' / 'train' / image['file_name']
        assert np.array_equal(labels, cv2.imread(str(stored.with_suffix('.png')), -1))
    assert len(parts) > 1  # some shapes were cut by others


def test_polygons_are_the_mask():
    ring = np.pad(np.zeros((2, 2), bool), 1, constant_values=True)
    assert len(mask_polygons(ring)) == 2
    for mask in (ring, *random_masks()):
        assert np.array_equal(rasterised(mask_polygons(mask), mask.shape), mask)


def test_pycocotools_rasterises_polygons_to_the_mask():
    tools = pytest.importorskip('pycocotools.mask')
    for mask in filter(np.any, random_masks()):
        codes = tools.frPyObjects(mask_polygons(mask), *map(int, mask.shape))
        assert np.array_equal(tools.decode(tools.merge(codes)), mask)


def test_a_class_is_its_outline():
    """Shares of the smallest rectangle and of the hull, of whole shapes."""
    expected = {
        'circle': (0.785, 1),
        'square': (1, 1),
        'triangle': (0.5, 1),
        'star': (0.39, 0.56),
        'cross': (0.63, 0.73),
    }
    found = {name: [] for name in CLASSES}
    rng = np.random.default_rng(0)
    for _ in range(12):
        for label, mask in draw_scene((256, 256), rng, (3, 3), visible=1)[1]:
            points = np.argwhere(mask.repeat(4, 0).repeat(4, 1)).astype(np.int32)
            _, (a, b), _ = cv2.minAreaRect(points)
            hull = cv2.contourArea(cv2.convexHull(points))
            found[CLASSES[label - 1]].append(16 * mask.sum() / np.array([a * b, hull]))
    for name in CLASSES:
        assert np.allclose(found[name], expected[name], atol=0.05), name


def test_colour_and_area_do_not_tell_the_class():
    rng = np.random.default_rng(0)
    features, labels = [], []
    for _ in range(150):
        image, instances = draw_scene((64, 64), rng)
        for label, mask in instances:
            pixels = image[mask]
            features.append([*pixels.mean(0), *pixels.std(0), np.sqrt(mask.sum())])
            labels.append(label)
    features, labels = np.array(features), np.array(labels)
    features = (features - features.mean(0)) / features.std(0)
    half = len(labels) // 2
    distance = ((features[half:, None] - features[:half]) ** 2).sum(-1)
    nearest = labels[:half][np.argsort(distance, 1)[:, :9]]
    votes = (nearest[..., None] == np.arange(1, len(CLASSES) + 1)).sum(1)
    right = (votes.argmax(1) + 1 == labels[half:]).mean()
    assert right < 0.3, right  # 0.2 is chance


def test_shapes_stand_out_and_occlude_one_another():
    rng = np.random.default_rng(0)
    clear = 0
    for _ in range(40):
        image, instances = draw_scene((64, 64), rng, shapes=(2, 6))
        assert image.dtype == np.uint8 and image.shape == (64, 64, 3)
        assert sum(mask.astype(int) for _, mask in instances).max() == 1
        labels = class_map(instances, (64, 64))
        assert len(instances) >= 2
        for label, mask in instances:
            assert (labels[mask] == label).all()
            around = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7))) > 0
            difference = image[mask].mean(0) - image[around & ~mask].mean(0)
            clear += np.abs(difference).max() > 30
    assert clear > 100


@pytest.mark.parametrize(
    'options, match',
    [
        (dict(size=(31, 64)), 'got 31 for size.* from 32'),
        (dict(size=64), 'got size=64, expected 2'),
        (dict(size=(64, 64.0)), 'got 64.0 for size'),
        (dict(train=0), 'got 0 for train.* from 1'),
        (dict(val=0), 'got 0 for val'),
        (dict(seed=-1), 'got -1 for seed.* from 0'),
        (dict(shapes=(0, 3)), 'got 0 for shapes'),
        (dict(shapes=(3, 2)), 'the least first'),
        (dict(visible=0), 'visible <= 1'),
        (dict(visible=1.5), 'got visible=1.5'),
    ],
)
def test_mistakes_are_named_before_anything_is_written(options, match, tmp_path):
    with pytest.raises(ValueError, match=match):
        make_shapes(tmp_path / 'new', **options)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / 'file').write_text('mine')
    for path in (tmp_path, tmp_path / 'file'):
        with pytest.raises(ValueError, match=r'nothing is overwritten\. Fix'):
            make_shapes(path, 1, 1)
    assert read(tmp_path) == {'file': b'mine'}


def test_the_smallest_size_and_an_empty_folder(tmp_path):
    assert make_shapes(tmp_path, 3, 1, size=(32, 32), visible=1)['val'] >= 1


def test_a_mistake_in_the_command_is_one_line(tmp_path):
    main = runpy.run_path(str(TOOL))['main']
    (tmp_path / 'mine').touch()
    with pytest.raises(SystemExit, match=r'^error: shapes: got .* which exists'):
        main([str(tmp_path), '--size', '48'])
    with pytest.raises(SystemExit, match=r'^error: shapes: got size=\(1, 2, 3\)'):
        main([str(tmp_path / 'new'), '--size', '1', '2', '3'])
    with pytest.raises(ValueError, match='which exists'):
        main([str(tmp_path), '--debug'])
    assert [path.name for path in tmp_path.iterdir()] == ['mine']


@pytest.mark.slow
def test_the_command(tmp_path):
    options = '--train 2 --val 1 --size 40 48 --seed 3 --shapes 1 2 --visible 0.9'
    done = subprocess.run(
        [sys.executable, TOOL, 'data', *options.split()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('2 + 1 images (train + val) of ')
    assert done.stdout.endswith(f'written to {tmp_path / "data"}\n')
    options = dict(size=(40, 48), seed=3, shapes=(1, 2), visible=0.9)
    make_shapes(tmp_path / 'same', 2, 1, **options)
    assert read(tmp_path / 'data') == read(tmp_path / 'same')
