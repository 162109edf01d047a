"""Batches of raw pixels to normalised tensors and masks, on the device.

Legend: B images, L patches on the prediction grid.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mim_zoo.datasets.encoded import EncodedBatch, decode_crops
from mim_zoo.datasets.image_io import UnreadableImageError
from mim_zoo.datasets.masking import MaskingTransform
from mim_zoo.registry import MODELS, TRANSFORMS

from .layers import cells
from .units import IMAGENET_MEAN, IMAGENET_STD, as_statistics, check_units


@MODELS.register_module()
class MIMDataPreprocessor(BaseDataPreprocessor):
    """Moves uint8 images to the device, normalises them and hides patches there.

    A batch is dict(inputs (B, C_in, H, W), sample_idx (B,), img_path, [gt_label (B,)],
    [mask (B, L)]); what ``CropOnDevice`` packed is decoded here. Masks in it (a user's
    own, or made in the pipeline) are used as they are. Otherwise the masking transform
    draws them: in training from the ``seed`` (B,) that ``EpochSampler`` gave each image
    (from torch's generator without one); in evaluation from ``eval_seed`` and the
    image's index, so that they never change (if images share masks, as long as the
    batches stay the same).

    ``broken`` are the files of the last batch that could not be decoded here; another
    image of the batch, with all its facts, stood in for each.

    Args:
        mean, std: a number, or one per channel, in the units of the files (RGB, 0..255
            for 8 bits). The ImageNet values by default. A first batch that they cannot
            be the statistics of is a ValueError.
        batch_transforms: at most one masking transform.
        stride, in_channels: facts handed down by the model.
    """

    def __init__(
        self,
        mean: float | Sequence[float] = IMAGENET_MEAN,
        std: float | Sequence[float] = IMAGENET_STD,
        batch_transforms: Sequence[dict] = (),
        eval_seed: int = 0,
        stride: int | None = None,
        in_channels: int | None = None,
        non_blocking: bool = True,
    ):
        super().__init__(non_blocking)
        shift, scale = as_statistics(mean, std, in_channels)
        self.register_buffer('mean', shift, False)
        self.register_buffer('std', scale, False)
        self.broken: tuple[str, ...] = ()
        self.eval_seed = eval_seed
        self._checked = False
        self.stride = stride
        self.masking = self._build_masking(batch_transforms)

    @staticmethod
    def _build_masking(batch_transforms: Sequence[dict]) -> MaskingTransform | None:
        built = [TRANSFORMS.build(t) for t in batch_transforms]
        if not all(isinstance(t, MaskingTransform) for t in built) or len(built) > 1:
            raise ValueError(
                f'batch_transforms: got {[type(t).__name__ for t in built]}, expected '
                'at most one masking transform; other transforms belong into the '
                "dataset's pipeline"
            )
        if not built:
            return None
        if built[0].stride is not None or built[0].seed is not None:
            raise ValueError(
                f'batch_transforms: got {built[0]} with a stride or a seed, expected '
                'neither: the model hands its stride down, and seeds come with the '
                'images (eval_seed of the data preprocessor in evaluation)'
            )
        return built[0]

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Returns dict(inputs fp32, mask, num_hidden, data_samples = all the rest)."""
        data = self._decoded(data)
        # read on the host, where it costs no device sync
        num_hidden = self._given_count(data.get('mask'), training)
        seeds = self._seeds(data, training)
        data = self.cast_data(data)
        samples = {k: v for k, v in data.items() if k not in ('inputs', 'mask')}
        inputs = self.normalize(data['inputs'])
        mask = data.get('mask')
        if mask is None and self.masking is not None:
            if self.stride is None:
                raise ValueError('masking: the stride of the encoder is not known')
            grid = cells(inputs.shape[-2:], self.stride)
            mask = self.masking.sample(seeds, grid, inputs.device)
            num_hidden = self.masking.num_hidden(grid)
        if mask is None:
            return dict(inputs=inputs, data_samples=samples)
        return dict(
            inputs=inputs, mask=mask, num_hidden=num_hidden, data_samples=samples
        )

    def _decoded(self, data: dict) -> dict:
        """JPEGs as pixels; an image that stands in for another comes with its facts."""
        self.broken = ()
        if not isinstance(data['inputs'], EncodedBatch):
            return data
        try:
            images, shown = decode_crops(data['inputs'], self.device)
        except UnreadableImageError as error:
            files = ', '.join(data['img_path'])
            raise UnreadableImageError(f'{error}: {files}') from error
        if shown != list(range(len(shown))):
            names = data['img_path']
            self.broken = tuple(n for i, n in enumerate(names) if shown[i] != i)
            data = {
                key: value[shown]
                if isinstance(value, Tensor)
                else [value[i] for i in shown]
                for key, value in data.items()
                if key != 'inputs'
            }
        return {**data, 'inputs': images}

    def normalize(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Pixels (B, C_in, H, W) in file units to zero mean and unit variance."""
        if not isinstance(images, Tensor):
            sizes = {tuple(x.shape) for x in images}
            if len(sizes) > 1:
                raise ValueError(
                    f'images of one batch: got shapes {sorted(sizes)}, expected one; '
                    'crop or resize in the pipeline'
                )
            images = torch.stack(list(images))
        if images.shape[1] != len(self.mean) and len(self.mean) > 1:
            raise ValueError(
                f'images: got {images.shape[1]} channels, expected {len(self.mean)} as '
                'in mean and std; set mean and std of the data preprocessor'
            )
        # loaders leave the channels last in memory
        floats = images.to(torch.float, memory_format=torch.contiguous_format)
        normalized = (floats - self.mean) / self.std
        if not self._checked:  # a device sync, so once
            self._checked = check_units(
                normalized,
                'set mean and std of the data preprocessor in the units of your files',
                narrow=images.dtype != torch.uint8,
            )
        return normalized

    def denormalize(self, images: Tensor) -> Tensor:
        """The inverse of ``normalize``, not clipped."""
        return images * self.std + self.mean

    def _given_count(self, given: Tensor | None, training: bool) -> int | None:
        if given is None:
            return None
        if training and self.masking is not None:
            raise ValueError(
                'masks come from both the pipeline and batch_transforms='
                f'[{self.masking}], expected one of them; remove the other'
            )
        counts = given.sum(dim=1)
        low, high = int(counts.min()), int(counts.max())
        if low == 0:
            raise ValueError(
                f'mask: image {int(counts.argmin())} of the batch hides no patch, '
                'expected at least one (True = hidden)'
            )
        return low if low == high else None

    def _seeds(self, data: dict, training: bool) -> Tensor:
        """A seed per image (B,), on the host."""
        count = len(data['inputs'])
        if not training:
            index = torch.as_tensor(data.get('sample_idx', range(count)))
            return index + self.eval_seed * 2**32
        if 'seed' in data:
            return torch.as_tensor(data['seed'])
        return torch.randint(2**62, (count,))
