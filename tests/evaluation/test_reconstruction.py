import pytest
import torch

from mim_zoo.evaluation import reconstruction
from mim_zoo.evaluation.reconstruction import ExplainedShare
from mim_zoo.models import MaskedL1, MaskedMSE


def records(targets, predictions, criterion, name='loss_0'):
    return [
        dict(losses={name: criterion.error(p, t).mean()}, targets={name: t})
        for p, t in zip(predictions, targets)
    ]


@pytest.mark.parametrize('criterion', [MaskedMSE(), MaskedL1()])
def test_constant_explains_nothing_and_truth_everything(criterion):
    targets = torch.randn(6, 9, 4, generator=torch.Generator().manual_seed(0))
    constant = criterion.best_constant(targets.flatten(0, 1)).expand_as(targets)
    for predictions, share in ((constant, 0.0), (targets, 1.0)):
        meter = ExplainedShare(6)
        meter.add(records(targets, predictions, criterion))
        result = meter.result({'loss_0': criterion})
        assert result['explained_share'] == pytest.approx(share, abs=1e-6)


def test_share_is_that_of_the_variance():
    targets = torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(1))
    predictions = targets * 0.5
    meter = ExplainedShare(5)
    meter.add(records(targets, predictions, MaskedMSE()))
    result = meter.result({'loss_0': MaskedMSE()})
    loss = (targets * 0.5).square().mean()
    variance = targets.flatten(0, 1).var(0, unbiased=False).mean()
    assert result['reconstruction_error'] == pytest.approx(float(loss), rel=1e-6)
    assert result['explained_share'] == pytest.approx(float(1 - loss / variance))


def test_images_with_more_hidden_patches_weigh_more():
    criterion = MaskedMSE()
    targets = [torch.zeros(1, 2), torch.zeros(3, 2)]
    predictions = [torch.full((1, 2), 2.0), torch.zeros(3, 2)]
    meter = ExplainedShare(2)
    meter.add(records(targets, predictions, criterion))
    assert meter.sums['loss_0'] / meter.count['loss_0'] == pytest.approx(1.0)


def test_kept_targets_are_bounded_and_from_every_image(monkeypatch):
    monkeypatch.setattr(reconstruction, 'MAX_TARGETS', 20)
    targets = torch.arange(10.0)[:, None, None].expand(10, 50, 1)
    meter = ExplainedShare(10)
    meter.add(records(targets, targets, MaskedMSE()))
    kept = torch.cat(meter.targets['loss_0'])
    assert kept.flatten().tolist() == [i for i in range(10) for _ in range(2)]


def test_several_outputs_have_a_share_each():
    targets = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(2))
    meter = ExplainedShare(4)
    for i, scale in enumerate((0.5, 1.0)):
        meter.add(records(targets, targets * scale, MaskedMSE(), f'loss_{i}'))
    result = meter.result({'loss_0': MaskedMSE(), 'loss_1': MaskedMSE()})
    assert result['explained_share_1'] == pytest.approx(1)
    mean = (result['explained_share_0'] + result['explained_share_1']) / 2
    assert result['explained_share'] == pytest.approx(mean)
    assert {'reconstruction_error_0', 'reconstruction_error_1'} <= result.keys()


def test_nothing_evaluated():
    with pytest.raises(ValueError, match='no held-out image'):
        ExplainedShare(0).result({'loss_0': MaskedMSE()})
