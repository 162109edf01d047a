"""JPEGs that the device decodes give the crops of the ordinary pipeline."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import ConcatDataset
from PIL import Image
from torch.utils.data import DataLoader

from mim_zoo.datasets import (
    Draw,
    ImageFolder,
    SamplePhotos,
    TooManyUnreadableError,
    collate_readable,
)
from mim_zoo.datasets.encoded import EncodedBatch, decode_crops
from mim_zoo.datasets.image_io import UnreadableImageError
from mim_zoo.engine.hooks import UnreadableFilesHook
from mim_zoo.models import MIMDataPreprocessor

PHOTO = SamplePhotos(pictures=['astronaut']).pictures['astronaut']
LATER = [dict(type='ReadJpeg'), dict(type='CropOnDevice', size=(48, 64))]
NOW = [
    dict(type='LoadImage'),
    dict(type='RandomResizedCrop', size=(48, 64)),
    dict(type='RandomFlip'),
    dict(type='PackInputs'),
]
DRAWS = [Draw(i % 5, i) for i in range(20)]


@pytest.fixture
def folder(tmp_path):
    """Colour, grey, turned, CMYK, and no JPEG at all."""
    colour = Image.fromarray(PHOTO[:200, :301])
    colour.save(tmp_path / 'a.jpg', quality=90)
    colour.convert('L').save(tmp_path / 'b.jpg')
    exif = colour.getexif()
    exif[274] = 6
    colour.save(tmp_path / 'c.jpg', exif=exif)
    colour.convert('CMYK').save(tmp_path / 'd.jpg')
    colour.save(tmp_path / 'e.png')
    return tmp_path


def batch_of(folder, pipeline, draws=DRAWS, workers=0):
    images = ImageFolder(str(folder), pipeline=pipeline)
    loader = DataLoader(
        images,
        batch_sampler=[draws],
        collate_fn=collate_readable,
        num_workers=workers,
    )
    return next(iter(loader))


@pytest.mark.parametrize('workers', [0, 1])
def test_crops_are_those_of_the_ordinary_pipeline(folder, workers) -> None:
    later, now = (batch_of(folder, p, workers=workers) for p in (LATER, NOW))
    batch = later['inputs']
    kinds = [crop is not None for crop in batch.crops]
    assert len(batch) == 20 and kinds == [True, True, False, False, False] * 4
    found, shown = decode_crops(batch, torch.device('cpu'))
    assert shown == list(range(20))
    assert found.shape == (20, 3, 48, 64) and found.dtype == torch.uint8
    off = (found.int() - now['inputs'].int()).abs()
    assert off.max() <= 2 and off.float().mean() < 0.1
    assert len({crop.flip for crop in batch.crops if crop}) == 2
    for key in ('sample_idx', 'seed'):
        assert torch.equal(later[key], now[key])
    assert later['img_path'] == now['img_path']


def test_the_preprocessor_decodes(folder) -> None:
    preprocessor = MIMDataPreprocessor(
        stride=16, batch_transforms=[dict(type='RandomMasking', ratio=0.5)]
    )
    later, now = (
        preprocessor(batch_of(folder, p), training=True) for p in (LATER, NOW)
    )
    assert torch.equal(later['mask'], now['mask'])
    torch.testing.assert_close(later['inputs'], now['inputs'], rtol=0, atol=0.05)


@pytest.mark.parametrize('place', [0, 1])
def test_another_stands_in_for_a_broken_one(folder, caplog, place) -> None:
    data = (folder / 'a.jpg').read_bytes()
    (folder / 'a.jpg').write_bytes(data[: len(data) // 2])
    draws = [Draw(0, 1), Draw(1, 2)][:: 1 - 2 * place]
    batch = batch_of(folder, LATER, draws)
    found, shown = decode_crops(batch['inputs'], torch.device('cpu'))
    assert shown == [1 - place] * 2
    alone = batch_of(folder, LATER, [Draw(1, 2)])
    expected, _ = decode_crops(alone['inputs'], torch.device('cpu'))
    assert torch.equal(found, torch.cat([expected, expected]))
    with pytest.raises(UnreadableImageError, match='no JPEG of the batch can be'):
        broken = batch_of(folder, LATER, [Draw(0, 1)])
        decode_crops(broken['inputs'], torch.device('cpu'))


def test_the_stand_in_comes_with_its_facts_and_the_file_is_left_out(tmp_path) -> None:
    for label, name in enumerate(('a', 'b', 'c')):
        (tmp_path / name).mkdir()
        noise = np.random.default_rng(0).integers(20, 60, (80, 90, 3))
        noisy = Image.fromarray((noise + 80 * label).astype(np.uint8))
        noisy.save(tmp_path / name / 'x.jpg')
    path = tmp_path / 'b' / 'x.jpg'
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    images = ImageFolder(
        str(tmp_path), with_label=True, pipeline=LATER, max_unreadable=0.4
    )
    draws = [Draw(1, 5), Draw(2, 6), Draw(0, 7)]
    batch = collate_readable([images[draw] for draw in draws])
    preprocessor = MIMDataPreprocessor(mean=100, std=50)
    model = SimpleNamespace(data_preprocessor=preprocessor)
    found = model.data_preprocessor(batch, training=True)
    facts = found['data_samples']
    assert facts['gt_label'].tolist() == [2, 2, 0] == facts['sample_idx'].tolist()
    assert facts['seed'].tolist() == [6, 6, 7]
    assert facts['img_path'] == [str(tmp_path / n / 'x.jpg') for n in 'cca']
    shown = preprocessor.denormalize(found['inputs']).mean(dim=(1, 2, 3))
    assert (shown // 80).tolist() == [2, 2, 0]
    loop = SimpleNamespace(dataloader=SimpleNamespace(dataset=ConcatDataset([images])))
    runner = SimpleNamespace(model=model, train_loop=loop)
    report = UnreadableFilesHook().after_train_iter
    report(runner, 0, batch)
    assert images.unreadable_files() == [str(path)]
    assert images[draws[0]]['gt_label'] == 2  # the next one, with its label
    report(runner, 0, batch)  # fetched ahead with the file still in it
    images.max_unreadable = 0.1
    images._clear_flags()
    with pytest.raises(TooManyUnreadableError, match='1 of 3 files'):
        report(runner, 0, batch)
    model.data_preprocessor(collate_readable([images[draws[2]]]), training=True)
    assert model.data_preprocessor.broken == ()


@pytest.mark.parametrize('kinds', ['ab', 'abe'])
def test_a_batch_is_few_tensors(folder, kinds) -> None:
    """A worker needs a descriptor for each, and may have 1,024."""
    places = ['abcde'.index(kind) for kind in kinds]
    draws = [Draw(place, i) for i, place in enumerate(places * 30)]
    batch = batch_of(folder, LATER, draws)['inputs']
    tensors = [v for v in vars(batch).values() if isinstance(v, torch.Tensor)]
    assert isinstance(batch, EncodedBatch) and len(batch) == len(draws)
    assert len(tensors) == 1 + ('e' in kinds)
    assert not any(
        isinstance(v, torch.Tensor) for crop in batch.crops for v in crop or ()
    )


def test_a_file_that_is_no_image_is_replaced_as_ever(folder) -> None:
    (folder / 'a.jpg').write_bytes(b'no image')
    images = ImageFolder(str(folder), pipeline=LATER, max_unreadable=0.5)
    assert images[Draw(0, 1)]['img_path'].endswith('b.jpg')
    (folder / 'b.jpg').unlink()
    assert images[Draw(1, 1)]['img_path'].endswith('c.jpg')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_by_nvjpeg(folder) -> None:
    later, now = (batch_of(folder, p) for p in (LATER, NOW))
    found, _ = decode_crops(later['inputs'].pin_memory(), torch.device('cuda'))
    off = np.abs(found.cpu().numpy().astype(int) - now['inputs'].numpy())
    assert found.is_cuda and off.mean() < 2
