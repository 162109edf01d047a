"""Stages of dBOT: swapped once, resumed bit for bit."""

import pytest
import torch
from dbot_run import PER_EPOCH, Watch, dbot, encoders, equal
from test_distributed import PAIR
from test_resume import assert_equal
from toy_run import build, start, state_of, train

from mim_zoo.engine.hooks import BootstrapHook


def test_the_teacher_becomes_the_student_at_a_boundary(tmp_path):
    runner = build(tmp_path, **dbot())
    watch = Watch(runner)
    runner.train()
    teacher, student = 0, 1
    begins, ends = watch.begins, watch.ends
    assert equal(begins[0][teacher], begins[0][student])  # a random copy
    assert equal(ends[0][teacher], begins[0][teacher])  # which is frozen
    assert not equal(ends[0][student], begins[0][student])  # and learned from
    assert equal(begins[1][teacher], ends[0][student])
    for name, value in begins[1][student].items():
        constant = ('pos_embed', 'bias', 'norm.weight', 'norm1.weight', 'norm2.weight')
        if not name.endswith(constant):
            assert not torch.equal(value, ends[0][student][name]), name
            assert not torch.equal(value, begins[0][student][name]), name
    assert equal(begins[2][teacher], begins[1][teacher])  # once
    assert equal(begins[2][student], ends[1][student])
    moments = list(runner.optim_wrapper.optimizer.state.values())
    assert all(m['step'] == 3 * PER_EPOCH for m in moments)  # kept, as published


def test_the_optimizer_can_forget(tmp_path):
    hook = dict(type='BootstrapHook', boundaries=[1], reset_optimizer=True)
    runner = train(tmp_path, **dbot(hook))
    moments = list(runner.optim_wrapper.optimizer.state.values())
    assert all(m['step'] == 2 * PER_EPOCH for m in moments)


def test_a_teacher_is_nothing_to_train(tmp_path):
    runner = train(tmp_path, **dbot())
    teacher, _ = encoders(runner)
    trained = {id(p) for g in runner.optim_wrapper.param_groups for p in g['params']}
    assert not any(p.requires_grad or id(p) in trained for p in teacher.parameters())
    runner.model.train()
    assert not any(part.training for part in teacher.modules())


RESUMED = {
    'inside the first stage': dict(at=5),
    'at the boundary': dict(at=PER_EPOCH + 1),
    'at the boundary, by epoch': dict(at=PER_EPOCH + 2, by_epoch=True, interval=1),
    'inside the epoch after it': dict(at=PER_EPOCH + 3),
    'in the last epoch': dict(at=2 * PER_EPOCH + 3),
}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    return state_of(train(tmp_path_factory.mktemp('whole'), **dbot()))


@pytest.mark.parametrize('case', RESUMED.values(), ids=RESUMED)
def test_resuming_swaps_exactly_once(case, whole, tmp_path):
    case = dict(case)
    at = case.pop('at')
    with pytest.raises(InterruptedError):
        train(tmp_path, **dbot(at=at, action='raise', **case))
    runner = train(tmp_path, resume=True, **dbot(**case))
    assert_equal(state_of(runner), whole)


def test_a_stem_is_the_first_teacher_of_large_ones(tmp_path):
    hook = dict(type='BootstrapHook', boundaries=[1], first='stem')
    runner = build(tmp_path, **dbot(hook))
    seen = []
    target = runner.model.head.target
    call = runner.call_hook

    def watched(name, **given):
        call(name, **given)
        if name == 'before_train_epoch':
            images = torch.randn(2, 3, 8, 8)
            encoder = target.teacher.encoder
            raw = target.teacher(images, [1], norm=False)[0][0]
            tokens, pos = encoder.embed(images)
            stem = encoder.with_prefix(tokens + pos)
            seen.append(torch.equal(raw, stem))

    runner.call_hook = watched
    runner.train()
    assert seen == [True, False, False]
    # what is measured later is measured with the right teacher
    for epoch, stem in ((PER_EPOCH, True), (3 * PER_EPOCH, False)):
        again = build(tmp_path / 'again', **dbot(hook))
        again.load_checkpoint(str(tmp_path / f'iter_{epoch}.pth'))
        assert again.model.head.target.teacher.stem_only is stem


def test_a_new_run_from_the_weights_has_all_its_stages(tmp_path):
    train(tmp_path / 'first', **dbot())
    given = dbot(load_from=str(tmp_path / 'first' / f'iter_{3 * PER_EPOCH}.pth'))
    runner = build(tmp_path / 'second', **given)
    watch = Watch(runner)
    runner.train()
    assert equal(*watch.begins[0])
    assert equal(watch.begins[1][0], watch.ends[0][1])


def test_a_rate_that_does_not_start_again_is_told(tmp_path):
    given = dbot()
    given['param_scheduler'] = [dict(type='ConstantLR', factor=1.0, by_epoch=False)]
    said = []
    runner = build(tmp_path, **given)
    runner.logger.warning = said.append
    runner.train()
    assert any('ConstantLR' in line and 'epochs [1]' in line for line in said)


def test_a_run_may_start_from_weights_without_a_teacher(tmp_path):
    trained = train(tmp_path / 'first', **dbot()).model.state_dict()
    state = {k: v for k, v in trained.items() if '.target.' not in k}
    torch.save({'state_dict': state}, tmp_path / 'weights.pth')
    given = dbot(load_from=str(tmp_path / 'weights.pth'))
    runner = build(tmp_path / 'second', **given)
    watch = Watch(runner)
    runner.train()
    assert equal(*watch.begins[0])
    start = watch.begins[0][1]
    assert all(torch.equal(v, state[f'backbone.{k}']) for k, v in start.items())
    saved = torch.load(tmp_path / 'second' / 'iter_2.pth', weights_only=False)
    assert any('target.teacher' in k for k in saved['state_dict'])


@pytest.mark.slow
def test_replicas_are_equal_after_a_swap(tmp_path):
    given = dbot(batch_size=2)
    pair = start(tmp_path, PAIR, launcher='pytorch', replicas=True, **given)
    assert pair.returncode == 0, pair.stderr[-3000:]
    one, two = (torch.load(tmp_path / f'rank{r}.bin') for r in (0, 1))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert any('teacher' in k for k in one)


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match=r"first='dino', expected one of"):
        BootstrapHook([1], first='dino')
    with pytest.raises(ValueError, match=r'boundaries=\[2, 1\], expected growing'):
        BootstrapHook([2, 1])
    with pytest.raises(ValueError, match=r'in a run of 3 epochs'):
        train(
            tmp_path,
            **{**dbot(dict(type='BootstrapHook', boundaries=[3]), boundaries=())},
        )
    given = dbot()
    given['model']['head']['target'] = dict(type='PixelTarget')
    given['model']['head']['score_prefix'] = False
    with pytest.raises(ValueError, match=r"\['PixelTarget'\], expected a Teacher"):
        train(tmp_path, **given)
    with pytest.raises(ValueError, match=r'begin at epochs \[1.0\], expected the same'):
        hook = dict(type='BootstrapHook', boundaries=[2])
        train(tmp_path, **dbot(hook, boundaries=(1,)))
    given = dbot()
    arch = dict(embed_dim=16, depth=1, num_heads=2)
    other = dict(given['model']['backbone'], arch=arch)
    teacher = dict(type='EncoderTeacher', encoder=other)
    given['model']['head']['target']['teacher'] = teacher
    with pytest.raises(ValueError, match='another encoder than the student'):
        train(tmp_path, **given)
    given = dbot()
    given['model']['backbone']['frozen_stages'] = 1
    with pytest.raises(ValueError, match='frozen_stages=1, expected -1'):
        train(tmp_path, **given)
