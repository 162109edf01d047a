"""Held-out reconstruction, on a scale that means the same for every target."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import all_gather_object
from torch import Tensor

from mim_zoo.models.losses import MaskedLoss

MAX_TARGETS = 2**15  # vectors kept to fit the constant predictor on


class ExplainedShare:
    """Accumulates ``MIM.predict`` records; then loss and explained share.

    explained share = 1 - loss / loss of the best constant predictor: 0 for a model
    that has learned nothing but the mean, 1 for a perfect one. The constant is fitted
    to hidden targets taken evenly from every image: about ``MAX_TARGETS`` of them, and
    one at least of each.

    Args:
        num_images: of all ranks, to share the kept targets evenly.
    """

    def __init__(self, num_images: int):
        self.per_image = max(1, MAX_TARGETS // max(num_images, 1))
        self.sums: dict[str, float] = {}
        self.count: dict[str, int] = {}
        self.targets: dict[str, list[Tensor]] = {}

    def add(self, records: Sequence[Mapping]) -> None:
        """Records hold losses {name: ()} and targets {name: (n, D)}."""
        for record in records:
            for name, loss in record['losses'].items():
                target = record['targets'][name]
                n = len(target)
                self.sums[name] = self.sums.get(name, 0.0) + float(loss) * n
                self.count[name] = self.count.get(name, 0) + n
                rows = torch.linspace(0, n - 1, min(n, self.per_image)).long()
                kept = self.targets.setdefault(name, [])
                kept.append(target[rows.to(target.device)].cpu())

    def result(self, criteria: Mapping[str, MaskedLoss]) -> dict[str, float]:
        """Over all ranks: reconstruction_error and explained_share, or one per output.

        (MMEngine averages what is called a loss over a window, which is not wanted.)
        """
        parts = all_gather_object((self.sums, self.count, self.targets))
        metrics, shares = {}, []
        for name in criteria:
            total = sum(sums.get(name, 0.0) for sums, _, _ in parts)
            count = sum(counts.get(name, 0) for _, counts, _ in parts)
            if not count:
                raise ValueError('explained share: no held-out image was evaluated')
            target = torch.cat([t for _, _, ts in parts for t in ts.get(name, [])])
            criterion = criteria[name]
            constant = criterion.best_constant(target).expand_as(target)
            baseline = float(criterion.error(constant, target).mean())
            loss = total / count
            shares.append(1 - loss / baseline if baseline > 0 else float('nan'))
            metrics[name.replace('loss', 'reconstruction_error')] = loss
            metrics[name.replace('loss', 'explained_share')] = shares[-1]
        if len(criteria) == 1:
            return dict(reconstruction_error=loss, explained_share=shares[0])
        return {**metrics, 'explained_share': sum(shares) / len(shares)}
