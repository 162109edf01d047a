"""Tables, plots and the metafile from results."""

import pytest
import yaml

from mim_zoo.zoo.curves import plot_curves
from mim_zoo.zoo.metafile import metafile
from mim_zoo.zoo.rows import SIZES
from mim_zoo.zoo.tables import (
    curve,
    curve_table,
    fusion_table,
    layer_table,
    main_table,
    over_seeds,
)

MICRO = SIZES['micro']


def pretrained(knn):
    last = dict(
        knn_top1=knn,
        linear_top1=knn + 0.1,
        linear_top1_block01=0.3,
        linear_top1_block02=knn,
        fusion_weight_0=0.25,
    )
    first = dict(knn_top1=0.2, linear_top1=0.3, fusion_weight_0=0.5)
    evaluations = [dict(images_seen=0, **first), dict(images_seen=1000, **last)]
    found = dict(untrained=first, trained=last, evaluations=evaluations)
    return dict(found=found)


def result(row, seed, flops=None, **steps):
    named = {name.replace('_', '-'): step for name, step in steps.items()}
    return dict(row=row, seed=seed, flops_per_image=flops, steps=named)


@pytest.fixture
def results():
    top1 = {'found': {'accuracy/top1': 41.0}}
    return {
        'vit-scratch': [result('vit-scratch', 0, finetune_10percent=top1)],
        'mff': [
            result('mff', 0, 2e9, pretrain=pretrained(0.4)),
            result(
                'mff',
                1,
                2e9,
                pretrain=pretrained(0.5),
                corrupted={'found': {'mCE_plain': 60.0}},
            ),
        ],
    }


def cells(table, title):
    (line,) = [line for line in table.splitlines() if line.startswith(f'| {title} |')]
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_over_seeds():
    assert over_seeds([None]) == '-'
    assert over_seeds([1.25]) == '1.2'
    assert over_seeds([1.25, None]) == '1.2 (n = 1)'
    assert over_seeds([1.0, None, 2.0]) == '1.5 (1.0 to 2.0, n = 2)'
    assert over_seeds([1.0, 3.0, 2.6]) == '2.2 (1.0 to 3.0)'


def test_main_table(results):
    table = main_table(MICRO, results)
    assert cells(table, 'MFF') == [
        *['MFF', '2.000', '2', '45.0 (40.0 to 50.0)', '55.0 (50.0 to 60.0)'],
        *['-', '-', '-', '60.0 (n = 1)'],
    ]
    # untrained features, fine-tuned from random weights
    assert cells(table, 'ViT from scratch')[2:7] == [
        *['1', '20.0', '30.0', '-', '41.0']
    ]
    assert 'MAE' not in table


def test_layer_table_marks_the_best(results):
    assert cells(layer_table(MICRO, results), 'MFF') == ['MFF', '30.0', '**45.0**']


def test_curves_and_fusion(results):
    assert curve(results['mff'], 'knn_top1') == [(0, 20.0), (1000, 45.0)]
    assert cells(curve_table(MICRO, results), 'MFF') == ['MFF', '30.0', '55.0']
    assert cells(fusion_table(MICRO, results), 'MFF, level 0')[1:] == ['50.0', '25.0']


@pytest.mark.parametrize('table', [main_table, layer_table, curve_table, fusion_table])
def test_without_results_there_is_no_table(table):
    assert table(MICRO, {}) == ''


def test_plot(results, tmp_path):
    plot_curves(MICRO, results, tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').read_bytes().startswith(b'\x89PNG')


def test_metafile_lists_configs_that_ran(results):
    (model,) = yaml.safe_load(metafile({'micro': (MICRO, results)}))['Models']
    assert model['Name'] == MICRO.row('mff').pretrain
    metrics = model['Results'][0]['Metrics']
    assert metrics == {'kNN': 45.0, 'linear probe': 55.0, 'error, corrupted': 60.0}
