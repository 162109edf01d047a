"""JPEGs that the device decodes give the crops of the ordinary pipeline."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mim_zoo.datasets import Draw, ImageFolder, SamplePhotos, collate_readable
from mim_zoo.datasets.encoded import EncodedCrop, decode_crops
from mim_zoo.datasets.image_io import UnreadableImageError
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
    kinds = [isinstance(image, EncodedCrop) for image in later['inputs']]
    assert kinds == [True, True, False, False, False] * 4
    found = decode_crops(later['inputs'], later['img_path'], torch.device('cpu'))
    assert found.shape == (20, 3, 48, 64) and found.dtype == torch.uint8
    off = (found.int() - now['inputs'].int()).abs()
    assert off.max() <= 2 and off.float().mean() < 0.1
    assert (
        len({crop.flip for crop in later['inputs'] if type(crop) is EncodedCrop}) == 2
    )
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
    found = decode_crops(batch['inputs'], batch['img_path'], torch.device('cpu'))
    assert torch.equal(found[0], found[1])
    alone = batch_of(folder, LATER, [Draw(1, 2)])
    expected = decode_crops(alone['inputs'], alone['img_path'], torch.device('cpu'))
    assert torch.equal(found[:1], expected)
    with pytest.raises(UnreadableImageError, match=r'no JPEG of .*a\.jpg can be'):
        broken = batch_of(folder, LATER, [Draw(0, 1)])
        decode_crops(broken['inputs'], broken['img_path'], torch.device('cpu'))


def test_a_file_that_is_no_image_is_replaced_as_ever(folder) -> None:
    (folder / 'a.jpg').write_bytes(b'no image')
    images = ImageFolder(str(folder), pipeline=LATER, max_unreadable=0.5)
    assert images[Draw(0, 1)]['img_path'].endswith('b.jpg')
    (folder / 'b.jpg').unlink()
    assert images[Draw(1, 1)]['img_path'].endswith('c.jpg')


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_by_nvjpeg(folder) -> None:
    later, now = (batch_of(folder, p) for p in (LATER, NOW))
    found = decode_crops(later['inputs'], later['img_path'], torch.device('cuda'))
    off = np.abs(found.cpu().numpy().astype(int) - now['inputs'].numpy())
    assert found.is_cuda and off.mean() < 2
