"""Top-k accuracy of classifiers."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from mim_zoo.registry import METRICS


@METRICS.register_module()
class Accuracy(BaseMetric):
    """Percentage of images whose label is among the k best scores: 'accuracy/top1'.

    Reads ``pred_score`` (classes,) and ``gt_label`` of every record that
    ``Classifier.predict`` returns. A k beyond the number of classes is that number.
    If the data set's metainfo names labels that are ``present`` (``ImageNetSubset``),
    the scores of all others are left out.

    Args:
        topk: one k or several.
    """

    default_prefix = 'accuracy'

    def __init__(
        self,
        topk: int | Sequence[int] = (1, 5),
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        if not self.topk or min(self.topk) < 1:
            raise ValueError(
                f'Accuracy: topk must be positive numbers such as (1, 5), got {topk}.'
            )

    def process(
        self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]
    ) -> None:
        """Note the place of each image's label among its scores, from 0."""
        if not data_samples:  # every file of the batch was unreadable
            return
        if any('gt_label' not in record for record in data_samples):
            raise ValueError(
                'Accuracy: the images have no gt_label; evaluate a labelled data set '
                '(ImageFolder with_label=True, Digits, SamplePhotos).'
            )
        scores = torch.stack([record['pred_score'] for record in data_samples])
        labels = torch.stack(
            [torch.as_tensor(r['gt_label'], device=scores.device) for r in data_samples]
        )
        if int(labels.max()) >= scores.shape[1]:
            raise ValueError(
                f'Accuracy: got the label {int(labels.max())} and scores of '
                f'{scores.shape[1]} classes; set num_classes of the model to that of '
                'the data.'
            )
        present = (self.dataset_meta or {}).get('present')
        if present is not None:
            absent = torch.ones(scores.shape[1], dtype=torch.bool, device=scores.device)
            absent[list(present)] = False
            scores = scores.masked_fill(absent, -torch.inf)
        best = scores.topk(min(max(self.topk), scores.shape[1])).indices  # (B, k)
        hits = best == labels[:, None]
        places = torch.where(hits.any(1), hits.int().argmax(1), max(self.topk))
        self.results.extend(places.tolist())

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        """Percentages by 'top1', 'top5', ..."""
        places = torch.tensor(results)
        return {f'top{k}': (places < k).double().mean().item() * 100 for k in self.topk}
