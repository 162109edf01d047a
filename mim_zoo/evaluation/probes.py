"""Classify frozen features: nearest neighbours, and a linear layer.

Legend: N bank (training) images, Q query images, C channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def knn_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    labels: Tensor,
    k: int = 20,
    temperature: float = 0.07,
) -> float:
    """Top-1 share of weighted k-nearest-neighbour votes (1805.01978, 2104.14294).

    bank (N, C), queries (Q, C); cosine similarity, votes weighted by
    exp(similarity / temperature). Runs where ``bank`` is, 256 queries at a time.
    """
    if k < 1 or temperature <= 0:
        raise ValueError(
            f'kNN: got k={k}, temperature={temperature}, expected k >= 1 and '
            'temperature > 0'
        )
    k = min(k, len(bank))
    num_classes = int(max(bank_labels.max(), labels.max())) + 1
    bank, bank_labels = F.normalize(bank, dim=1), bank_labels.to(bank.device)
    queries, labels = F.normalize(queries.to(bank), dim=1), labels.to(bank.device)
    correct = 0
    for q, y in zip(queries.split(256), labels.split(256)):
        similarity, index = (q @ bank.T).topk(k, dim=1)  # (q, k)
        votes = torch.zeros(len(q), num_classes, device=q.device)
        votes.scatter_add_(1, bank_labels[index], (similarity / temperature).exp())
        correct += int((votes.argmax(1) == y).sum())
    return correct / len(queries)


def linear_probe_accuracy(
    bank: Tensor,
    bank_labels: Tensor,
    queries: Tensor,
    labels: Tensor,
    weight_decay: float = 1e-4,
    steps: int = 100,
) -> float:
    """Top-1 share of multinomial logistic regression on standardised features.

    Full-batch L-BFGS from zero, so the figure is deterministic; a quick stand-in for
    the 90-epoch LARS probe, not the same protocol. bank (N, C), queries (Q, C).
    """
    mean, std = bank.mean(0), bank.std(0) + 1e-6
    bank, queries = (bank - mean) / std, (queries - mean) / std
    num_classes = int(max(bank_labels.max(), labels.max())) + 1
    with torch.enable_grad():
        weight = torch.zeros(num_classes, bank.shape[1], requires_grad=True)
        bias = torch.zeros(num_classes, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=steps, line_search_fn='strong_wolfe'
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(F.linear(bank, weight, bias), bank_labels)
            loss = loss + 0.5 * weight_decay * weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
    predicted = F.linear(queries, weight, bias).argmax(1)
    return float((predicted == labels).float().mean())
