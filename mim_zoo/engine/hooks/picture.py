"""Pictures of held-out reconstructions while training goes on."""

from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from PIL import Image
from torch.utils.data import DataLoader

from mim_zoo.models.base import unwrap
from mim_zoo.registry import HOOKS
from mim_zoo.visualization import draw_batch

from ..sharding import is_sharded


@HOOKS.register_module()
class ReconstructionHook(Hook):
    """Draws the same held-out images, under their fixed masks, at every evaluation.

    The picture goes to ``work_dir/reconstructions/`` and to the visualizer's backends.
    Without one if the target is no image (features, histograms).

    Args:
        num_images: taken evenly from the evaluated data set.
    """

    priority = 'NORMAL'

    def __init__(self, num_images: int = 8):
        if num_images < 1:
            raise ValueError(
                f'ReconstructionHook: got num_images={num_images}, expected >= 1'
            )
        self.num_images = num_images

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        by_iter = isinstance(runner._train_loop, IterBasedTrainLoop)
        name = f'iter_{runner.iter}' if by_iter else f'epoch_{runner.epoch}'
        self.draw(runner, runner.val_dataloader, metrics or {}, name)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self.draw(runner, runner.test_dataloader, metrics or {}, 'test')

    def draw(
        self, runner: Runner, dataloader: DataLoader, metrics: dict, name: str
    ) -> None:
        """Write ``reconstructions/NAME.png``, of what the first process has."""
        model = unwrap(runner.model)
        if not is_main_process() and not is_sharded(model):
            return  # the processes of a sharded model compute together
        if not model.heads[0].target.drawable:
            return
        batch = fixed_batch(dataloader, self.num_images)
        if not batch:
            runner.logger.warning(f'{name}: not one image to draw could be read.')
            return
        share = metrics.get('explained_share')
        note = '' if share is None else f'held-out explained share {share:.3f}'
        training = model.training
        model.eval()
        picture = draw_batch(model, batch, note)
        model.train(training)
        if not is_main_process():
            return
        path = Path(runner.work_dir) / 'reconstructions' / f'{name}.png'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(path)
        runner.visualizer.add_image('reconstruction', picture, step=runner.iter)


def fixed_batch(dataloader: DataLoader, num_images: int) -> dict:
    """A batch spread evenly over the loader's data set, unreadable files left out."""
    dataset: Any = dataloader.dataset
    count = min(num_images, len(dataset))
    picks = torch.linspace(0, len(dataset) - 1, count).long().tolist()
    return dataloader.collate_fn([dataset[i] for i in picks])
