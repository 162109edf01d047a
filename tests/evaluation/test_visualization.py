import numpy as np
import pytest
import torch
from PIL import Image

from mim_zoo.registry import MODELS
from mim_zoo.visualization import (
    draw_batch,
    draw_reconstruction,
    load_pictures,
    reconstruction_columns,
)


def tiny(normalize: bool = True, channels: int = 3):
    statistics = dict(mean=[100.0] * channels, std=[50.0] * channels)
    return MODELS.build(
        dict(
            type='MAE',
            backbone=dict(
                type='MIMViT',
                arch=dict(embed_dim=16, depth=1, num_heads=2),
                img_size=(16, 24),
                patch_size=8,
                in_channels=channels,
            ),
            corruption=dict(type='DropPatches'),
            head=dict(
                type='MIMHead',
                target=dict(type='PixelTarget', normalize=normalize),
                decoder=dict(
                    type='TransformerDecoder', embed_dim=16, depth=1, num_heads=2
                ),
                loss=dict(type='MaskedMSE'),
            ),
            data_preprocessor=dict(
                type='MIMDataPreprocessor',
                batch_transforms=[dict(type='RandomMasking', ratio=0.5)],
                **statistics,
            ),
        )
    ).eval()


def batch(model, channels: int = 3):
    pixels = torch.arange(2 * channels * 16 * 24) % 251
    raw = dict(
        inputs=pixels.reshape(2, channels, 16, 24).byte(), sample_idx=torch.arange(2)
    )
    return raw, model.data_preprocessor(raw, training=False)


def test_columns_agree_with_mask_and_original():
    model = tiny()
    raw, data = batch(model)
    columns, caption = reconstruction_columns(model, data['inputs'], data['mask'])
    grid = data['mask'].reshape(2, 1, 2, 3).expand(-1, 3, -1, -1)
    hidden = grid.repeat_interleave(8, 2).repeat_interleave(8, 3)
    original = raw['inputs'].float()
    torch.testing.assert_close(columns['original'], original, atol=1e-3, rtol=0)
    assert torch.equal(columns['masked'].isnan(), hidden)
    assert torch.equal(columns['pasted'][~hidden], columns['original'][~hidden])
    assert torch.equal(columns['pasted'][hidden], columns['prediction'][hidden])
    assert caption == 'uses ground-truth patch statistics'


def test_caption_says_when_the_truth_is_not_used():
    model = tiny(normalize=False)
    _, data = batch(model)
    caption = reconstruction_columns(model, data['inputs'], data['mask'])[1]
    assert caption == 'prediction only'


@pytest.mark.parametrize('channels', [1, 3, 5])
def test_picture_has_a_row_per_image_at_a_visible_size(channels):
    model = tiny(channels=channels)
    _, data = batch(model, channels)
    picture = draw_reconstruction(model, data['inputs'], data['mask'], side=96)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    assert picture.shape[1] == 4 * (24 * 4 + 4)
    assert picture.shape[0] > 2 * (16 * 4 + 4)


def test_pixels_between_0_and_1_are_not_black():
    model = tiny()
    raw, data = batch(model)
    preprocessor = model.data_preprocessor
    for name in ('mean', 'std'):
        setattr(preprocessor, name, getattr(preprocessor, name) / 255)
    inputs = preprocessor.normalize(raw['inputs'] / 255)
    torch.testing.assert_close(inputs, data['inputs'])
    picture = draw_reconstruction(model, inputs, data['mask'], side=24)
    assert picture[24:40, 2:26].max() > 240  # the first original


def test_many_views_stand_in_two_blocks():
    model = tiny()
    _, data = batch(model)
    many = data['inputs'].repeat(4, 1, 1, 1)[:7]
    picture = draw_reconstruction(model, many, data['mask'][:1], side=24)
    assert picture.shape[1] == 8 * (24 + 4)
    last = picture[22 + 3 * 20 : 22 + 4 * 20, 4 * 28 :]
    assert (last == 255).all()  # the eighth place is empty


def test_a_batch_without_masks_or_images_is_refused():
    model = tiny()
    raw, data = batch(model)
    expected = draw_reconstruction(model, data['inputs'], data['mask'])
    assert np.array_equal(draw_batch(model, raw), expected)
    model.data_preprocessor.masking = None
    with pytest.raises(ValueError, match='batch_transforms'):
        draw_batch(model, raw)
    with pytest.raises(ValueError, match='no image could be read'):
        draw_batch(model, {})


def test_pictures_from_files_and_folders(tmp_path):
    model = tiny()
    for name, size in (('a.png', (40, 30)), ('b.jpg', (30, 60))):
        Image.new('RGB', size, 'red').save(tmp_path / name)
    data = load_pictures([tmp_path, tmp_path / 'a.png'], model.backbone, limit=8)
    assert data['inputs'].shape == (3, 3, 16, 24)
    assert len(load_pictures([tmp_path], model.backbone, limit=1)['inputs']) == 1
    assert (data['inputs'][:, 0] > 250).all()  # no black bars where too narrow
    assert (data['inputs'][:, 1:] < 5).all()
    (tmp_path / 'aa.png').write_bytes((tmp_path / 'a.png').read_bytes()[:40])
    assert len(load_pictures([tmp_path], model.backbone, limit=8)['inputs']) == 2
    with pytest.raises(ValueError, match=r'aa\.png'):
        load_pictures([tmp_path / 'aa.png'], model.backbone, limit=1)
    with pytest.raises(ValueError, match='no such image'):
        load_pictures([tmp_path / 'c.png'], model.backbone, limit=1)
