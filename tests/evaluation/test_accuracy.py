import pytest
import torch

from mim_zoo.evaluation.accuracy import Accuracy


def measure(scores, labels, topk=(1, 5)):
    metric = Accuracy(topk)
    records = [
        dict(pred_score=torch.tensor(s), gt_label=torch.tensor(y))
        for s, y in zip(scores, labels)
    ]
    metric.process({}, records[:2])
    metric.process({}, records[2:])
    return metric.evaluate(len(records))


def test_percentages_of_hits_among_the_best():
    scores = [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]
    result = measure(scores, [0, 1, 2, 2], topk=(1, 2))
    assert result == {'accuracy/top1': 50.0, 'accuracy/top2': 75.0}


def test_k_beyond_the_number_of_classes():
    result = measure([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1]], [0, 1, 1])
    assert result['accuracy/top5'] == 100.0
    assert result['accuracy/top1'] == pytest.approx(100 / 3)


def test_a_single_k_as_a_number():
    result = measure([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]], [0, 0, 0], topk=1)
    assert result == {'accuracy/top1': pytest.approx(200 / 3)}


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match='topk'):
        Accuracy(topk=(0,))
    with pytest.raises(ValueError, match='no gt_label'):
        Accuracy().process({}, [dict(pred_score=torch.ones(3))])
    with pytest.raises(ValueError, match='label 3 and scores of 3 classes'):
        Accuracy().process({}, [dict(pred_score=torch.ones(3), gt_label=3)])
