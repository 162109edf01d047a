"""The plan of a comparison: configs that exist, steps in order, equal budgets."""

import pytest

from mim_zoo.cli import find_config
from mim_zoo.options import checked_options, parse_options
from mim_zoo.paths import read_config
from mim_zoo.zoo.budget import Budget
from mim_zoo.zoo.plan import CORRUPTED, PRETRAIN, plan_row, plan_rows
from mim_zoo.zoo.rows import SIZES

PAIRS = [(size, row) for size in SIZES.values() for row in size.rows]


@pytest.fixture(autouse=True)
def package(monkeypatch):
    """Corruptions need a package that tests do not install."""
    monkeypatch.setattr('mim_zoo.zoo.plan.Corrupt', lambda name, severity: None)


def ids(pair):
    return f'{pair[0].name}-{pair[1].name}'


def plan(size='micro', row='mae', seed=0, work=None, **budget):
    size = SIZES[size]
    return plan_row(size, size.row(row), seed, Budget(**budget), '/data', work)


def option(step, key, command=0):
    words = dict(w.split('=', 1) for w in step.commands[command] if '=' in w)
    return words[key].strip('"')


@pytest.mark.parametrize('pair', PAIRS, ids=ids)
def test_configs_exist_and_know_every_option(pair, tmp_path):
    size, row = pair
    steps = plan_row(size, row, 0, Budget(), '/data', tmp_path).steps
    for step in steps:
        for _tool, config, *words in step.commands:
            cfg = read_config(find_config(config))
            after = words[words.index('--cfg-options') + 1 :]
            checked_options(cfg, dict(word.split('=', 1) for word in after))


def encoder(config):
    found = dict(read_config(find_config(config)).model.backbone)
    ours = ('type', 'arch', 'img_size', 'patch_size')
    return {key: found[key] for key in ours if key in found}


def images(cfg):
    """The training images, whatever is done to them."""
    found = cfg.train_dataloader.dataset.to_dict()
    found.get('dataset', found).pop('pipeline')
    return found


@pytest.mark.parametrize('size', SIZES.values(), ids=lambda size: size.name)
def test_rows_have_one_encoder_and_one_schedule(size):
    for name in ('ViT', 'MixMIM'):
        rows = [row for row in size.rows if row.encoder == name]
        configs = [c for row in rows for c in (row.pretrain, row.finetune) if c]
        assert len(rows) > 1
        assert all(encoder(config) == encoder(configs[0]) for config in configs)
    pretrained = [read_config(find_config(r.pretrain)) for r in size.rows if r.pretrain]
    first = pretrained[0]
    for cfg in pretrained:
        assert cfg.train_cfg == first.train_cfg
        assert cfg.train_dataloader.batch_size == first.train_dataloader.batch_size
        assert cfg.optim_wrapper == first.optim_wrapper
        assert cfg.custom_hooks == first.custom_hooks
        assert images(cfg) == images(first)
        if 'staging' not in cfg.default_hooks:
            assert cfg.param_scheduler == first.param_scheduler


def test_steps_are_in_order_and_start_from_each_other(tmp_path):
    steps = plan(work=tmp_path).steps
    names = [step.name for step in steps]
    shares = [f'finetune-{n}percent' for n in (1, 10, 100)]
    assert names == [PRETRAIN, *shares, CORRUPTED]
    last = tmp_path / 'micro/mae_seed0/pretrain/epoch_6.pth'
    for step in steps[1:4]:
        assert option(step, 'model.backbone.init_cfg.checkpoint') == str(last)
        assert step.commands[1][2] == str(
            step.folder / step.commands[1][2].rsplit('/')[-1]
        )
    tuned, corrupted = steps[3], steps[4]
    assert corrupted.commands[0][2] == tuned.commands[1][2]


def test_from_scratch_nothing_is_pretrained(tmp_path):
    steps = plan(row='vit-scratch', work=tmp_path).steps
    assert PRETRAIN not in [step.name for step in steps]
    assert not any('init_cfg.checkpoint' in word for word in steps[0].commands[0])


@pytest.mark.parametrize(
    ('row', 'epochs', 'starts'),
    [('dbot', None, '[3]'), ('dbot', 2, '[1]'), ('dbot-3stage', 12, '[4,8]')],
)
def test_stages_keep_their_shares(row, epochs, starts, tmp_path):
    step = plan(row=row, epochs=epochs, work=tmp_path).steps[0]
    assert option(step, 'default_hooks.staging.boundaries') == starts
    assert option(step, 'param_scheduler.0.boundaries') == starts


def test_too_few_epochs_for_the_stages(tmp_path):
    with pytest.raises(ValueError, match='2 epochs are too few for stages'):
        plan(row='dbot-3stage', epochs=2, work=tmp_path)


def test_seed_chooses_images_and_weights(tmp_path):
    for step in plan(seed=7, work=tmp_path).steps[:4]:
        assert option(step, 'randomness.seed') == '7'
    assert option(step, 'train_dataloader.dataset.seed') == '7'


def test_a_budget_changes_epochs_of_all(tmp_path):
    steps = plan(epochs=1, tuning_epochs=0.67, work=tmp_path).steps
    epochs = [option(step, 'train_cfg.max_epochs') for step in steps[:4]]
    assert epochs == ['1', '27', '7', '2']
    assert steps[1].commands[1][2].endswith('finetune-1percent/epoch_27.pth')


def test_epochs_too_few_are_told_before_anything_runs(tmp_path):
    late = r'vit-micro.* begins after epoch 1, but the run has 1 epoch; raise --epochs'
    with pytest.raises(ValueError, match=late):
        plan(tuning_epochs=0.1, work=tmp_path)
    shorter = ('param_scheduler.0.end=0.5', 'param_scheduler.1.begin=0.5')
    assert plan(tuning_epochs=0.1, options=shorter, work=tmp_path).steps


@pytest.mark.parametrize(
    'change', [dict(epochs=12), dict(options=('train_dataloader.num_workers=0',))]
)
def test_every_step_knows_what_it_starts_from(change, tmp_path):
    for old, new in zip(plan(work=tmp_path).steps, plan(work=tmp_path, **change).steps):
        assert old.facts != new.facts


def test_unknown_options_are_told_before_anything_runs(tmp_path):
    with pytest.raises(SystemExit, match=r'the config has no "model\.headd"'):
        plan(options=('model.headd=1',), work=tmp_path)
    assert plan(options=('+model.headd=1',), work=tmp_path).steps


def test_folders_of_any_name_arrive_whole(tmp_path):
    size, odd = SIZES['micro'], 'a (1), b'
    work = tmp_path / odd
    steps = plan_row(size, size.row('mae'), 0, Budget(), f'/{odd}', work).steps
    found = parse_options([w for w in steps[1].commands[0] if '=' in w])
    assert found['data_root'] == f'/{odd}'
    begin = work / 'micro/mae_seed0/pretrain/epoch_6.pth'
    assert found['model.backbone.init_cfg.checkpoint'] == str(begin)


def test_a_budget_for_corruptions(tmp_path):
    size = SIZES['micro']
    last = plan(work=tmp_path).steps[-1]
    assert last.facts['severities'] == list(size.severities)
    assert last.facts['share'] == size.corruption_share
    words = plan(severities=(5, 1, 5), corruption_share=0.5, work=tmp_path).steps[-1]
    words = ' '.join(words.commands[0])
    assert '--corruption-share 0.5 --severities 1 5 --cfg-options' in words


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(epochs=0), '--epochs: got 0, expected more than 0'),
        (dict(tuning_epochs=-1.0), '--tuning-epochs: got -1.0, expected more'),
        (dict(severities=(3, 6)), '--severities: got 6, expected 1 to 5'),
        (dict(corruption_share=2.0), '--corruption-share: got 2.0, expected more than'),
    ],
)
def test_a_budget_out_of_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        Budget(**wrong)


def test_corruptions_need_their_package(tmp_path, monkeypatch):
    def missing(name, severity):
        raise ValueError('pip install it')

    monkeypatch.setattr('mim_zoo.zoo.plan.Corrupt', missing)
    with pytest.raises(ValueError, match='pip install it'):
        plan(work=tmp_path)
    assert plan(steps=(PRETRAIN,), work=tmp_path).steps


def test_what_is_asked_for_twice_runs_once(tmp_path):
    size, names = SIZES['micro'], ['mff', 'mae', 'mff']
    plans = plan_rows(size, names, [1, 0, 1], Budget(), '/data', tmp_path)
    assert [(p.row.name, p.seed) for p in plans] == [
        *[('mff', 1), ('mae', 1), ('mff', 0), ('mae', 0)]
    ]
    every = plan_rows(size, None, [0], Budget(), '/data', tmp_path)
    assert [p.row for p in every] == list(size.rows)


def test_unknown_steps_and_rows(tmp_path):
    with pytest.raises(ValueError, match='no step probe, expected of pretrain'):
        plan(steps=('probe',), work=tmp_path)
    with pytest.raises(ValueError, match='no row "simclr" at size micro'):
        plan(row='simclr', work=tmp_path)


def test_a_step_needs_the_one_before(tmp_path):
    wished = ('finetune-1percent',)
    with pytest.raises(ValueError, match='needs pretrain, which is not among'):
        plan(steps=wished, work=tmp_path)
    done = tmp_path / 'micro/mae_seed0/pretrain/summary.json'
    done.parent.mkdir(parents=True)
    done.write_text('{}')
    found = plan(steps=wished, work=tmp_path)
    assert [step.name for step in found.steps] == [*wished]
    assert [step.name for step in found.needs] == [PRETRAIN]
