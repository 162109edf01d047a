"""Teachers that are read from a file, or follow the student at every step."""

import pytest
import torch
from dbot_run import PER_EPOCH, Watch, dbot, encoders, equal
from test_resume import assert_equal
from toy_run import build, state_of, train

from mim_zoo.registry import MODELS


def given_teacher(tmp_path, **hook):
    """Options of a run whose teacher is in a file, and its weights."""
    given = dbot(dict(type='BootstrapHook', boundaries=[1], **hook))
    encoder = {**given['model']['backbone']}
    del encoder['drop_path_rate']
    torch.manual_seed(1)
    first = MODELS.build(encoder).state_dict()
    torch.save({f'backbone.{k}': v for k, v in first.items()}, tmp_path / 'first.pth')
    given['model']['head']['target']['teacher'] = dict(
        type='EncoderTeacher', encoder=encoder, checkpoint=str(tmp_path / 'first.pth')
    )
    return given, first


@pytest.mark.parametrize('first', ['student', 'stem'])
def test_a_given_teacher_is_never_thrown_away(tmp_path, first):
    with pytest.raises(ValueError, match=r'beside a teacher that is read from .*first'):
        train(tmp_path, **given_teacher(tmp_path, first=first)[0])
    given = given_teacher(tmp_path)[0]
    given['custom_hooks'][0] = dict(type='MomentumTeacherHook')
    given['param_scheduler'] = []
    with pytest.raises(ValueError, match=r'starts as a copy of the student'):
        train(tmp_path / 'momentum', **given)


def test_a_given_teacher_is_followed_by_the_student(tmp_path):
    given, first = given_teacher(tmp_path)
    runner = build(tmp_path, **given)
    watch = Watch(runner)
    runner.train()
    assert equal(watch.begins[0][0], first)
    assert equal(watch.begins[1][0], watch.ends[0][1])
    # what is measured later is measured with the teacher of the checkpoint
    again = build(tmp_path / 'again', **given)
    again.call_hook('before_run')
    again.load_checkpoint(str(tmp_path / f'iter_{3 * PER_EPOCH}.pth'))
    again.model.head.target(torch.randn(2, 3, 8, 8))
    assert equal(encoders(again)[0].state_dict(), watch.ends[2][0])


def test_the_momentum_teacher_is_a_moving_average(tmp_path):
    hook = dict(type='MomentumTeacherHook', momentum=0.75)
    options = dbot(hook, boundaries=())
    options['train_dataloader']['dataset']['samples'] = 4  # one iteration an epoch
    runner = build(tmp_path, **options)
    watch = Watch(runner)
    runner.train()
    average = watch.begins[0][1]
    for teacher, student in watch.ends:
        average = {k: 0.75 * average[k] + 0.25 * student[k] for k in average}
        for name, value in average.items():
            torch.testing.assert_close(teacher[name], value)


def test_the_momentum_teacher_resumes_bit_for_bit(tmp_path):
    hook = dict(type='MomentumTeacherHook', momentum=0.9)
    given = dbot(hook, boundaries=())
    one = train(tmp_path / 'one', **given)
    dying = dict(given, custom_hooks=[hook, dict(type='ToyRecorder', at=9)])
    dying['custom_hooks'][1]['action'] = 'raise'
    with pytest.raises(InterruptedError):
        train(tmp_path / 'two', **dying)
    two = train(tmp_path / 'two', resume=True, **given)
    assert_equal(state_of(one), state_of(two))
