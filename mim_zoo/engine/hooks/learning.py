"""Is it learning? What every evaluation of a pre-training run adds to its metrics."""

from typing import Any

from mmengine.device import get_device
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import DataLoader

from mim_zoo.engine.sharding import check_batches_alike
from mim_zoo.evaluation.features import block_features
from mim_zoo.evaluation.probes import knn_accuracy, linear_probe_accuracy
from mim_zoo.evaluation.reconstruction import ExplainedShare
from mim_zoo.models.base import unwrap
from mim_zoo.models.necks import LevelFusion
from mim_zoo.registry import HOOKS

from .agreement import check_classes, classes_of


class EvaluationHook(Hook):
    """Adds to the metrics of an evaluation before anybody logs them.

    Works in validation and in testing alike; a subclass says what is added.
    """

    priority = 'HIGHEST'  # before RuntimeInfoHook hands the metrics to the loggers

    def evaluate(self, runner: Runner, dataloader: DataLoader) -> dict[str, float]:
        """Metrics of the data set that has just been run through the model."""
        raise NotImplementedError

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        assert metrics is not None
        metrics.update(self.evaluate(runner, runner.val_dataloader))

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        assert metrics is not None
        metrics.update(self.evaluate(runner, runner.test_dataloader))


@HOOKS.register_module()
class ExplainedShareHook(EvaluationHook):
    """Held-out error (the loss) under fixed masks, and the explained share."""

    def before_val_epoch(self, runner: Runner) -> None:
        self.meter = ExplainedShare(len(runner.val_dataloader.dataset))

    def before_test_epoch(self, runner: Runner) -> None:
        self.meter = ExplainedShare(len(runner.test_dataloader.dataset))

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
        mode: str = 'train',
    ) -> None:
        if mode != 'train':
            self.meter.add(outputs)

    def evaluate(self, runner: Runner, dataloader: DataLoader) -> dict[str, float]:
        return self.meter.result(unwrap(runner.model).criteria)


@HOOKS.register_module()
class KNNHook(EvaluationHook):
    """Top-1, 0..1, of classifiers on frozen features: bank against evaluated images.

    ``knn_top1`` is of weighted nearest neighbours (2104.14294); with ``linear``,
    ``linear_top1`` of logistic regression on the same features is added. With
    ``blocks``, both of the features after every block too, ``linear_top1_block01`` the
    first: what DeepMIM (2303.08817) says of shallow layers. Only the last block's pass
    the encoder's norm; they are those of the figures without a block.

    Args:
        bank: dataloader config of labelled training images, with the evaluation
            pipeline.
        pool: 'avg' or 'cls'.
    """

    def __init__(
        self,
        bank: dict,
        k: int = 20,
        temperature: float = 0.07,
        pool: str = 'avg',
        linear: bool = False,
        blocks: bool = False,
    ):
        self.bank = bank
        self.k = k
        self.temperature = temperature
        self.pool = pool
        self.linear = linear
        self.blocks = blocks
        self._loader: DataLoader | None = None

    def evaluate(self, runner: Runner, dataloader: DataLoader) -> dict[str, float]:
        if self._loader is None:
            self._loader = runner.build_dataloader(self.bank, seed=runner.seed)
            names = dict(bank=self._loader.dataset, evaluated=dataloader.dataset)
            check_classes({name: classes_of(data) for name, data in names.items()})
        check_batches_alike(runner.model, self._loader)
        last_only = not self.blocks
        bank, y = block_features(runner.model, self._loader, self.pool, last_only)
        queries, labels = block_features(runner.model, dataloader, self.pool, last_only)
        if y is None or labels is None:
            raise ValueError(
                f'KNNHook: the {"bank" if y is None else "evaluated"} images have no '
                'labels; use a labelled data set (ImageFolder with_label=True) or '
                'remove the hook'
            )
        found = [self._classified(x, y, q, labels) for x, q in zip(bank, queries)]
        metrics = dict(found[-1])
        for i, of_block in enumerate(found if self.blocks else (), start=1):
            metrics |= {f'{name}_block{i:02}': top1 for name, top1 in of_block.items()}
        return metrics

    def _classified(
        self, x: Tensor, y: Tensor, queries: Tensor, labels: Tensor
    ) -> dict[str, float]:
        """Figures of one kind of features, bank (N, C) and queries (Q, C)."""
        bank = x.to(get_device())  # the similarities of a large bank take a GPU
        top1 = knn_accuracy(bank, y, queries, labels, self.k, self.temperature)
        metrics = dict(knn_top1=top1)
        if self.linear:
            metrics['linear_top1'] = linear_probe_accuracy(x, y, queries, labels)
        return metrics


@HOOKS.register_module()
class FusionWeightsHook(EvaluationHook):
    """The share of every level in the neck's sums (MFF, 2308.00261, figure 4).

    Named as in the log of training: ``fusion_weight_0`` is the shallowest level's.
    """

    def before_run(self, runner: Runner) -> None:
        """ValueError for a model that sums no levels."""
        if not self._weights(runner):
            raise ValueError(
                'FusionWeightsHook: got a model whose neck sums no levels, expected '
                "LevelFusion with several blocks in an output and fusion='weighted'; "
                'take the hook out'
            )

    def evaluate(self, runner: Runner, dataloader: DataLoader) -> dict[str, float]:
        return {name: float(share) for name, share in self._weights(runner).items()}

    def _weights(self, runner: Runner) -> dict[str, Tensor]:
        neck = getattr(unwrap(runner.model), 'neck', None)
        return neck.log_values() if isinstance(neck, LevelFusion) else {}
