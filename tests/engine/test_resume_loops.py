"""Which loops a run resumes by, and that what was saved is evaluated."""

import pytest
from mmengine.hooks import Hook
from test_resume import interrupted
from toy_run import build, toy_cfg, train

from mim_zoo.engine import EpochTrainLoop
from mim_zoo.registry import HOOKS


def test_mmengines_loop_cannot_resume_inside_an_epoch(tmp_path):
    loop = dict(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=2))
    with pytest.raises(ValueError, match=r'inside an epoch.*mim_zoo.EpochTrainLoop'):
        interrupted(tmp_path / 'a', 5, **loop)
    done = interrupted(tmp_path / 'b', 9, by_epoch=True, interval=1, **loop)
    assert (done.iter, done.epoch) == (12, 2)


@pytest.mark.parametrize('loop', [dict(by_epoch=True), dict()])
def test_loop_by_epoch_is_ours(tmp_path, loop):
    runner = build(tmp_path, train_cfg=dict(max_epochs=2, **loop))
    assert isinstance(runner.build_train_loop(runner.cfg.train_cfg), EpochTrainLoop)


@HOOKS.register_module(force=True)
class ToyEvaluations(Hook):
    """Keeps when it is evaluated; at iteration ``at`` the run ends before that."""

    def __init__(self, at=None):
        self.at, self.seen = at, []

    def before_val(self, runner):
        if runner.iter == self.at:
            raise InterruptedError
        self.seen.append(runner.iter)


LOOPS = {
    'epochs': (
        dict(type='EpochTrainLoop', max_epochs=2, val_interval=1),
        dict(by_epoch=True, interval=1),
    ),
    'iterations': (
        dict(type='IterBasedTrainLoop', max_iters=12, val_interval=6),
        dict(interval=6),
    ),
}


@pytest.mark.parametrize('at', [6, 12])
@pytest.mark.parametrize('kind', LOOPS)
def test_what_was_saved_is_evaluated(tmp_path, kind, at):
    loop, saving = LOOPS[kind]
    data = dict(toy_cfg(tmp_path).train_dataloader)
    data['sampler'] = dict(type='DefaultSampler', shuffle=False)
    given = dict(train_cfg=loop, val_cfg=dict(), val_evaluator=[], **saving)
    given |= dict(val_dataloader=data, param_scheduler=None)

    def run(at=None, **more):
        hooks = [dict(type='ToyRecorder'), dict(type='ToyEvaluations', at=at)]
        runner = train(tmp_path, custom_hooks=hooks, **given, **more)
        return next(h.seen for h in runner.hooks if isinstance(h, ToyEvaluations))

    with pytest.raises(InterruptedError):
        run(at)
    assert run(resume=True) == list(range(at, 13, 6))
