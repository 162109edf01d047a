"""What ``tools/benchmark.py loader`` measures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from test_cli import error_of, python

from mim_zoo.benchmark.loader import (
    OFFICIAL,
    Loader,
    Loading,
    endless,
    folder,
    loading_of,
    pixel_difference,
)
from mim_zoo.benchmark.sides import config_of

CONFIG = config_of('mae', 'base')
PHOTO = load_sample_image('china.jpg')


@pytest.fixture
def photos(tmp_path) -> Path:
    for i in range(3):
        image = Image.fromarray(np.roll(PHOTO, 90 * i, axis=1)[:240, : 300 + i])
        (tmp_path / 'photos').mkdir(exist_ok=True)
        image.save(tmp_path / 'photos' / f'{i}.jpg', quality=95)
    return tmp_path / 'photos'


def loading(name: str, photos: Path, **options: object) -> Loading:
    return loading_of(CONFIG, name, str(photos), 2, options)


def test_the_pipeline_is_the_configs(photos) -> None:
    key = 'train_dataloader.dataset.pipeline.1.size'
    assert loading('exact', photos).size == (224, 224)
    assert loading('exact', photos, **{key: 96}).size == (96, 96)
    fast = folder(loading('fast', photos))
    load, crop, *_ = fast.pipeline.transforms
    assert load.fast and not crop.antialias and crop.interpolation == 'bilinear'
    assert crop.scale == [0.2, 1.0]
    with pytest.raises(
        ValueError, match=r"expected \['LoadImage', 'RandomResizedCrop'"
    ):
        loading_of(config_of('pixmim', 'base'), 'exact', str(photos), 2, {})


def test_the_same_crops_of_other_backends(photos) -> None:
    """Exact is to a grey level, fast is not far; another crop would be at about 50."""
    assert pixel_difference(loading('exact', photos)) < 0.2
    assert 0.2 < pixel_difference(loading('fast', photos)) < 6


def test_draws_go_on_for_ever() -> None:
    batches = endless(3, 2)
    draws = [draw for _ in range(3) for draw in next(batches)]
    assert draws == [0, 1, 2, 0, 1, 2]
    assert len({draw.seed for draw in draws}) == 6


@pytest.mark.parametrize(('name', 'dtype'), [('exact', 'uint8'), (OFFICIAL, 'float32')])
def test_a_worker_loads(photos, name, dtype) -> None:
    loader = Loader(loading(name, photos))
    assert loader.facts() == dict(images=3, batch_shape=[2, 3, 224, 224], dtype=dtype)
    batch = next(loader.batches)
    pixels = batch if name == OFFICIAL else batch['inputs'].float() / 255
    assert torch.isfinite(pixels).all() and pixels.std() > 0.1
    assert loader.run(2) > 0


@pytest.mark.slow
def test_the_command(photos, tmp_path) -> None:
    text = python(
        *('benchmark', 'loader', '--data-root', photos, '--batch', 2, '--pairs', 2),
        *('--steps', 2, '--json', tmp_path / 'out.json'),
    )
    result = json.loads((tmp_path / 'out.json').read_text())
    exact, fast, official = result['sides']
    assert [s['name'] for s in result['sides']] == ['exact', 'fast', OFFICIAL]
    for side in result['sides']:
        assert len(side['seconds']) == 2 and side['images'] == 3
        expected = [b / a for a, b in zip(side['seconds'], official['seconds'])]
        assert side['speed_ratio']['pairs'] == pytest.approx(expected)
    assert exact['pixel_difference'] < fast['pixel_difference']
    assert official['pixel_difference'] is None
    assert 'pixels off, of 255' in text and str(photos) not in json.dumps(result)


def test_mistakes(photos, tmp_path) -> None:
    assert 'does not exist' in error_of(
        'benchmark', 'loader', '--data-root', tmp_path / 'gone'
    )
    arguments = ['--data-root', photos, '--batch', 0]
    assert '--batch: got 0' in error_of('benchmark', 'loader', *arguments)
