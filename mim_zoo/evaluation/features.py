"""Features of a whole data set, on all processes."""

from collections.abc import Iterable
from typing import Any

import torch
from mmengine.dist import all_gather_object
from torch import Tensor

from mim_zoo.models.base import unwrap


@torch.no_grad()
def dataset_features(
    model: Any, dataloader: Iterable[dict], pool: str = 'avg'
) -> tuple[Tensor, Tensor | None]:
    """Features (N, C) of whole images and labels (N,), on the CPU, from all ranks.

    ``model`` is an ``EncoderModel``. Labels are None when there are none. ValueError
    when no rank has an image.
    """
    (features,), labels = block_features(model, dataloader, pool, last_only=True)
    return features, labels


@torch.no_grad()
def block_features(
    model: Any, dataloader: Iterable[dict], pool: str = 'avg', last_only: bool = False
) -> tuple[list[Tensor], Tensor | None]:
    """The same of every block, [(N, C_i)], by one pass; see ``extract_block_feats``."""
    model = unwrap(model)
    training = model.training
    model.eval()
    features: list[list[Tensor]] = []
    labels: list[Tensor] = []
    for batch in dataloader:
        if not batch:  # every image of it was unreadable
            continue
        data = model.data_preprocessor(
            {k: v for k, v in batch.items() if k != 'mask'}, training=False
        )
        if last_only:
            found = [model.extract_feat(data['inputs'], pool)]
        else:
            found = model.extract_block_feats(data['inputs'], pool)
        features.append([x.float().cpu() for x in found])
        if 'gt_label' in data['data_samples']:
            labels.append(data['data_samples']['gt_label'].cpu())
    model.train(training)
    count = 1 if last_only else len(model.backbone.levels)
    gathered = [_gathered([batch[i] for batch in features]) for i in range(count)]
    known = [x for x in gathered if x is not None]
    if not known:
        raise ValueError('features: got an empty data set, expected at least one image')
    return known, _gathered(labels)


def _gathered(parts: list[Tensor]) -> Tensor | None:
    """All ranks' parts in one tensor; None if there are none (every rank must call)."""
    everybody = all_gather_object(torch.cat(parts) if parts else None)
    found = [part for part in everybody if part is not None]
    return torch.cat(found) if found else None
