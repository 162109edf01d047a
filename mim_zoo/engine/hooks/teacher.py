"""Teachers that follow the student: in stages (dBOT) or at every step (data2vec)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.dist import broadcast
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mim_zoo.models.base import unwrap
from mim_zoo.models.targets import EncoderTeacher, TeacherTarget
from mim_zoo.registry import HOOKS

from ..loading import state_dict_of
from ..schedulers import StagedCosineLR
from .seed import mixed_seed

FIRST = ('student', 'stem', 'given')


def teachers_of(model: Any, hook: str) -> list[EncoderTeacher]:
    """The teachers in a model's targets that may follow its encoder.

    ValueError without one.
    """
    targets = [head.target for head in getattr(model, 'heads', [])]
    found = [
        target.teacher
        for target in targets
        if isinstance(target, TeacherTarget)
        and isinstance(target.teacher, EncoderTeacher)
    ]
    if not found:
        raise ValueError(
            f'{hook}: got targets {[type(t).__name__ for t in targets]}, expected a '
            'TeacherTarget with an encoder of this library, such as '
            "target=dict(type='TeacherTarget')"
        )
    return found


def check_alike(teacher: nn.Module, student: nn.Module, hook: str) -> None:
    """ValueError unless the student's weights fit the teacher."""
    own = {k: tuple(v.shape) for k, v in teacher.state_dict().items()}
    other = {k: tuple(v.shape) for k, v in student.state_dict().items()}
    if own != other:
        names = [k for k in own.keys() | other.keys() if own.get(k) != other.get(k)]
        raise ValueError(
            f'{hook}: the teacher is another encoder than the student '
            f'({len(names)} weights differ, such as {min(names)}) and cannot become a '
            'copy of it; leave out the teacher in TeacherTarget, or the hook'
        )


def check_stages(schedule: list[float], hook: list[int]) -> None:
    """ValueError unless the learning rate starts again where the student does."""
    if schedule != hook:
        raise ValueError(
            f'BootstrapHook: got boundaries={hook} and a StagedCosineLR whose stages '
            f'begin at epochs {schedule}, expected the same; change both '
            '(default_hooks.staging.boundaries, param_scheduler.0.boundaries)'
        )


class TeacherHook(Hook):
    """Makes the teacher follow the student, and its weights part of checkpoints."""

    def before_run(self, runner: Runner) -> None:
        """Before anything is loaded."""
        self._keep(runner, True)

    def before_train(self, runner: Runner) -> None:
        """From here on there is a teacher to be saved."""
        self._keep(runner, True)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """A new run may start from weights without a teacher, which it then makes."""
        given = any('.target.teacher.' in name for name in state_dict_of(checkpoint))
        starts = not (getattr(runner, '_measures', False) or runner._resume)
        self._keep(runner, given or not starts)

    def _keep(self, runner: Runner, saved: bool) -> None:
        for teacher in self.teachers(runner):
            teacher.saved = saved

    def teachers(self, runner: Runner) -> list[EncoderTeacher]:
        """Those of the runner's model."""
        return teachers_of(unwrap(runner.model), type(self).__name__)

    def given(self, runner: Runner) -> list[str]:
        """Files that teachers are read from."""
        files = [teacher.checkpoint for teacher in self.teachers(runner)]
        return [file for file in files if file is not None]

    def copy_student(self, runner: Runner) -> None:
        """The teachers become the student's encoder."""
        student = unwrap(runner.model).backbone
        for teacher in self.teachers(runner):
            check_alike(teacher.encoder, student, type(self).__name__)
            teacher.encoder.load_state_dict(student.state_dict())


@HOOKS.register_module()
class BootstrapHook(TeacherHook):
    """Stages of bootstrapped distillation (dBOT, 2209.03917).

    At the beginning of each epoch in ``boundaries`` the teacher becomes a copy of the
    student's encoder and the student starts again from random weights, the same in
    every process. A resumed run does so exactly once, wherever it was stopped.

    Args:
        boundaries: epochs at which later stages begin, counted from 0: [800] for two
            stages in 1600.
        first: the teacher of the first stage. 'student': a copy of the random student
            (published for ViT-B); 'stem': that without its blocks, random patch
            embeddings and positions (published for ViT-L and H); 'given': as the
            ``TeacherTarget`` says. By default 'given' if that has a checkpoint, else
            'student'.
        reset_optimizer: forget the optimizer's moments with the student; they are kept
            as published.
    """

    def __init__(
        self,
        boundaries: Sequence[int],
        first: str | None = None,
        reset_optimizer: bool = False,
    ):
        if first not in (None, *FIRST):
            raise ValueError(
                f'BootstrapHook: got first={first!r}, expected one of {FIRST}'
            )
        self.boundaries = list(boundaries)
        if self.boundaries != sorted({*boundaries} - {0}):
            raise ValueError(
                f'BootstrapHook: got boundaries={self.boundaries}, expected growing '
                'epochs from 1 on'
            )
        self.first = first
        self.reset_optimizer = reset_optimizer
        self.stage = 0

    def before_train(self, runner: Runner) -> None:
        """Check the stages; a new run gets its first teacher."""
        super().before_train(runner)
        self._check(runner)
        if runner.iter == 0:
            self.stage = 0
            files = self.given(runner)
            first = self.first or ('given' if files else 'student')
            if first != 'given':
                self.copy_student(runner)
            told = f' ({", ".join(files)})' if files else ''
            runner.logger.info(f'The first teacher: {first!r}{told}.')
        self._tell_stage(runner)

    def before_train_epoch(self, runner: Runner) -> None:
        """Begin the stage that this epoch belongs to, unless it has begun."""
        stage = sum(boundary <= runner.epoch for boundary in self.boundaries)
        if stage <= self.stage:
            return
        self.stage = stage
        self.copy_student(runner)
        self._tell_stage(runner)
        self._restart(runner)
        runner.logger.info(
            f'Stage {stage + 1} of {len(self.boundaries) + 1}: the teacher is the '
            'student of the last one, the student starts again from random weights.'
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note the stage."""
        checkpoint['bootstrap'] = dict(stage=self.stage)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the stage over; a new run that starts from the weights will not."""
        super().after_load_checkpoint(runner, checkpoint)
        self.stage = checkpoint.get('bootstrap', {}).get('stage', 0)
        self._tell_stage(runner)

    def _tell_stage(self, runner: Runner) -> None:
        for teacher in self.teachers(runner):
            teacher.stem_only = self.first == 'stem' and self.stage == 0

    def _restart(self, runner: Runner) -> None:
        """New random weights, equal in all processes."""
        model = unwrap(runner.model)
        cuda = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(mixed_seed(runner.seed, self.stage))
            model.reset_parameters()
        for value in model.state_dict().values():
            broadcast(value)
        runner.optim_wrapper.zero_grad()  # of the last student
        if self.reset_optimizer:
            runner.optim_wrapper.optimizer.state.clear()

    def _check(self, runner: Runner) -> None:
        if self.boundaries and self.boundaries[-1] >= runner.max_epochs:
            raise ValueError(
                f'BootstrapHook: got boundaries={self.boundaries} in a run of '
                f'{runner.max_epochs} epochs, expected all before its end'
            )
        student = unwrap(runner.model).backbone
        if self.first == 'stem' and len(set(student.levels)) > 1:
            raise ValueError(
                "BootstrapHook: got first='stem' for an encoder whose levels differ, "
                "of which the stem is none; use first='student'"
            )
        if self.boundaries and student.frozen_stages != -1:
            raise ValueError(
                f'BootstrapHook: got frozen_stages={student.frozen_stages!r}, expected '
                '-1: a stage begins with random weights, which would stay random'
            )
        for teacher in self.teachers(runner) if self.boundaries else ():
            check_alike(teacher.encoder, student, 'BootstrapHook')
        if self.first in ('student', 'stem') and (files := self.given(runner)):
            raise ValueError(
                f'BootstrapHook: got first={self.first!r} beside a teacher that is '
                f'read from {", ".join(files)}, expected one of them; use '
                "first='given', or leave the checkpoint out"
            )
        schedules = list(runner.param_schedulers or ())
        staged = [s for s in schedules if isinstance(s, StagedCosineLR)]
        for schedule in staged:
            length = 1 if schedule.by_epoch else len(runner.train_dataloader)
            check_stages([s / length for s in schedule.starts[1:]], self.boundaries)
        if self.boundaries and schedules and not staged:
            runner.logger.warning(
                'BootstrapHook: the learning rate does not start again with the '
                f'student at epochs {self.boundaries}: expected StagedCosineLR in '
                f'param_scheduler, got {[type(s).__name__ for s in schedules]}.'
            )


@HOOKS.register_module()
class MomentumTeacherHook(TeacherHook):
    """The teacher is a moving average of the student's encoder (data2vec, 2202.03555).

    It starts as a copy and follows after every update of the weights.

    Args:
        momentum: what stays of the teacher in an update.
    """

    def __init__(self, momentum: float = 0.9998):
        if not 0 <= momentum < 1:
            raise ValueError(
                f'MomentumTeacherHook: got momentum={momentum}, expected 0 <= momentum '
                '< 1'
            )
        self.momentum = momentum

    def before_train(self, runner: Runner) -> None:
        """A new run starts from a copy."""
        super().before_train(runner)
        if files := self.given(runner):
            raise ValueError(
                f'MomentumTeacherHook: got a teacher that is read from '
                f'{", ".join(files)}, expected none, as it starts as a copy of the '
                'student; leave its checkpoint out, and begin the run from the file '
                '(load_from)'
            )
        if runner.iter == 0:
            self.copy_student(runner)

    @torch.no_grad()
    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Any = None,
    ) -> None:
        """Follow the student by one update, if there was one."""
        if not runner.optim_wrapper.should_update():
            return
        student = weights_of(unwrap(runner.model).backbone)
        for teacher in self.teachers(runner):
            own = weights_of(teacher.encoder)
            torch._foreach_lerp_(own, student, 1 - self.momentum)


def weights_of(module: nn.Module) -> list[Tensor]:
    """Its parameters, in their order."""
    return [parameter.detach() for parameter in module.parameters()]
