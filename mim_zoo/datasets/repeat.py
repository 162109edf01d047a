"""Repeated augmentation (1901.09335): an image is decoded once and drawn from often."""

from collections.abc import Callable, Sequence

from mmengine.dataset import Compose

from mim_zoo.registry import TRANSFORMS

from .sampler import draw_seed, seeded


@TRANSFORMS.register_module()
class RepeatedDraws:
    """The rest of a pipeline, ``times`` times on one image; always the last step.

    For loaders that are slower than the GPU. ``batch_size`` counts images as they are
    decoded: a batch is ``times`` as large, and an epoch draws so often from an image.
    Every draw has a seed of its own, for crops and masks; the first is that of a
    pipeline without this step.

    Args:
        transforms: from the crop to ``PackInputs``.
    """

    def __init__(self, times: int, transforms: Sequence[dict | Callable]) -> None:
        if times < 1:
            raise ValueError(f'RepeatedDraws: times must be 1 or more, got {times}.')
        self.times = times
        self.pipeline = Compose(
            [TRANSFORMS.build(t) if isinstance(t, dict) else t for t in transforms]
        )

    def __call__(self, results: dict) -> list[dict]:
        """The packed samples, for ``collate_readable``."""
        return [self._draw(dict(results), number) for number in range(self.times)]

    def _draw(self, results: dict, number: int) -> dict:
        if number == 0 or 'seed' not in results:
            return self.pipeline(results)
        results['seed'] = draw_seed(results['seed'], number, results['sample_idx'])
        with seeded(results['seed']):
            return self.pipeline(results)
