"""Changes of colour, for 8-bit RGB."""

import numpy as np
from torchvision.transforms import v2

from mim_zoo.registry import TRANSFORMS

from .transforms import to_array, to_tensor


@TRANSFORMS.register_module()
class ColorJitter:
    """torchvision's random brightness, contrast, saturation and hue, in random order.

    Each of the first three is a factor drawn within 1 +- its value (0.4 in
    BEiT's pre-training, 2106.08254), hue is within +- its value, at most 0.5.
    """

    def __init__(
        self,
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.0,
    ) -> None:
        self.jitter = v2.ColorJitter(brightness, contrast, saturation, hue)

    def __call__(self, results: dict) -> dict:
        img = results['img']
        if img.dtype != np.uint8 or img.shape[2] != 3:
            raise ValueError(
                f'ColorJitter expects 8-bit RGB, got {img.dtype} with {img.shape[2]} '
                f'channels from {results.get("img_path")}. Fix: leave ColorJitter out '
                'for such data.'
            )
        results['img'] = to_array(self.jitter(to_tensor(img)))
        return results
