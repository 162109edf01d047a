import pytest
import torch

from mim_zoo.evaluation.probes import knn_accuracy, linear_probe_accuracy


def clusters(n: int, seed: int, noise: float = 0.3):
    """Three classes around three directions of a 16-d space."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.eye(16)[:3] * 4
    labels = torch.arange(n) % 3
    return centres[labels] + noise * torch.randn(n, 16, generator=generator), labels


def test_knn_finds_clusters_and_not_noise():
    x, y = clusters(90, 0)
    q, z = clusters(30, 1)
    assert knn_accuracy(x, y, q, z, k=5) == 1
    shuffled = y[torch.randperm(90, generator=torch.Generator().manual_seed(0))]
    assert knn_accuracy(x, shuffled, q, z, k=5) < 0.7


def test_knn_votes_by_hand():
    bank = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, -0.6]])
    labels = torch.tensor([0, 1, 1])
    query = torch.tensor([[1.0, 0.0]])
    zero = torch.tensor([0])
    # similarities 1, 0.8, 0.8: e^(1/t) against 2 e^(0.8/t); equal at t = 0.2 / ln 2
    assert knn_accuracy(bank, labels, query, zero, k=3, temperature=0.28) == 1
    assert knn_accuracy(bank, labels, query, zero, k=3, temperature=0.30) == 0
    assert knn_accuracy(bank, labels, query, zero, k=1, temperature=9.0) == 1


def test_knn_ignores_feature_length():
    x, y = clusters(60, 0)
    q, z = clusters(30, 1)
    length = torch.arange(1, 61)[:, None]
    assert knn_accuracy(x * length, y, q, z) == knn_accuracy(x, y, q, z)


@pytest.mark.parametrize('bad', [dict(k=0), dict(temperature=0.0)])
def test_knn_refuses(bad):
    x, y = clusters(9, 0)
    with pytest.raises(ValueError, match='kNN'):
        knn_accuracy(x, y, x, y, **bad)


def test_linear_probe_separates_what_is_separable():
    x, y = clusters(90, 0)
    q, z = clusters(30, 1)
    scale = torch.logspace(-3, 3, 16)  # standardised away
    first = linear_probe_accuracy(x * scale, y, q * scale, z)
    assert first == 1
    assert first == linear_probe_accuracy(x * scale, y, q * scale, z)
    xor = (x[:, 0] > 2) ^ (x[:, 1] > 2) ^ (torch.arange(90) % 2 == 0)
    assert linear_probe_accuracy(x, xor.long(), q, xor.long()[:30]) < 0.9
