"""``extract_features``: layouts, statistics and units of what it is given."""

import numpy as np
import pytest
import torch
from PIL import Image

from mim_zoo import extract_features
from mim_zoo.models import MIMViT
from mim_zoo.models.base import FeatureExtractor


def micro(**kwargs) -> MIMViT:
    return MIMViT('micro', img_size=16, patch_size=4, **kwargs).eval()


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
def test_features_of_an_encoder_in_another_type(dtype):
    model, images = micro(), torch.rand(2, 3, 16, 16) * 255
    expected = extract_features(model, images)
    found = extract_features(model.to(dtype), images)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize(
    ('pool', 'shape'), [('avg', (3, 96)), ('cls', (3, 96)), ('map', (3, 96, 4, 4))]
)
def test_features_of_any_form_of_images(pool, shape):
    model = micro().train()
    arrays = [np.random.default_rng(i).integers(0, 255, (16, 16, 3)) for i in range(3)]
    arrays = [a.astype(np.uint8) for a in arrays]
    tensor = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
    features = extract_features(model, tensor, pool, batch_size=2)
    assert features.shape == shape
    assert model.training
    assert not features.requires_grad
    for images in (arrays, np.stack(arrays)):
        # not bit for bit: a layout of memory has kernels of its own on some processors
        found = extract_features(model, images, pool, batch_size=2)
        torch.testing.assert_close(found, features)
    one = extract_features(model, arrays[0], pool)
    torch.testing.assert_close(one[0], features[0])


def test_features_use_the_statistics_of_the_model():
    statistics = dict(type='MIMDataPreprocessor', mean=[100.0] * 3, std=[50.0] * 3)
    backbone = dict(type='MIMViT', arch='micro', img_size=16, patch_size=4)
    model = FeatureExtractor(backbone, statistics).eval()
    images = torch.rand(2, 3, 16, 16) * 255
    own = extract_features(model, images)
    given = extract_features(model.backbone, images, mean=[100.0] * 3, std=50.0)
    assert torch.equal(own, given)
    normalized = model.extract_feat((images - 100) / 50)
    torch.testing.assert_close(own, normalized.detach())
    assert not torch.allclose(own, extract_features(model.backbone, images))


def test_bad_requests_say_what_is_wrong():
    images = torch.zeros(1, 4, 16, 16)
    with pytest.raises(ValueError, match='expected 4'):
        extract_features(micro(in_channels=4), images)
    images = torch.zeros(1, 3, 16, 16)
    with pytest.raises(ValueError, match='both'):
        extract_features(micro(), images, mean=[0.0])
    with pytest.raises(ValueError, match='pool'):
        extract_features(micro(), images, 'max')
    with pytest.raises(ValueError, match='no encoder'):
        extract_features(torch.nn.Linear(1, 1), images)


def test_pictures_of_pil():
    array = np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    picture, model = Image.fromarray(array), micro()
    expected = extract_features(model, array)
    assert torch.equal(extract_features(model, picture), expected)
    assert len(extract_features(model, [picture, picture])) == 2


@pytest.mark.parametrize(
    ('images', 'words'),
    [
        (torch.zeros(3, 16, 16), r'tensor of shape \(3, 16, 16\), expected \(B, 3'),
        (np.zeros((3, 16, 16)), 'channels last'),
        (torch.rand(2, 3, 16, 16), 'between 0 and 1'),
        (torch.rand(2, 3, 16, 16) * 65_535, 'standard deviations from the mean'),
    ],
)
def test_images_of_another_layout_or_unit_are_refused(images, words):
    with pytest.raises(ValueError, match=words):
        extract_features(micro(), images)
