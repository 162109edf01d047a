"""RandAugment (1909.13719), as MAE fine-tunes with it."""

from typing import Any

import numpy as np

from mim_zoo.registry import TRANSFORMS

from .transforms import check_interpolation


@TRANSFORMS.register_module()
class RandAugment:
    """timm's RandAugment for 8-bit RGB; the default policy is MAE's for fine-tuning.

    Geometric operations interpolate ``interpolation`` and fill with ``fill`` (RGB).
    """

    def __init__(
        self,
        policy: str = 'rand-m9-mstd0.5-inc1',
        fill: tuple[int, int, int] = (124, 116, 104),
        interpolation: str = 'bicubic',
    ) -> None:
        from timm.data.auto_augment import rand_augment_transform
        from timm.data.transforms import str_to_pil_interp

        check_interpolation(interpolation, 'RandAugment')
        if policy.split('-')[0] != 'rand':
            raise ValueError(
                "RandAugment: policy is timm's, for example 'rand-m9-mstd0.5-inc1', "
                f'got {policy!r}.'
            )
        hparams: dict[str, Any] = {'img_mean': tuple(fill)}
        hparams['interpolation'] = str_to_pil_interp(interpolation)
        self.augment = rand_augment_transform(policy, hparams)

    def __call__(self, results: dict) -> dict:
        from PIL import Image

        img = results['img']
        if img.dtype != np.uint8 or img.shape[2] != 3:
            raise ValueError(
                'RandAugment expects 8-bit RGB, got '
                f'{img.dtype} with {img.shape[2]} channels from '
                f'{results.get("img_path")}. Fix: leave RandAugment out for such data.'
            )
        results['img'] = np.array(self.augment(Image.fromarray(img)))
        return results
