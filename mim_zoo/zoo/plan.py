"""What is to be run for a row and a seed: commands of the tools, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mim_zoo.cli import find_config
from mim_zoo.datasets.corruptions import CORRUPTIONS, SEVERITIES, Corrupt
from mim_zoo.engine.loops import too_late
from mim_zoo.options import checked_options, parse_options, quoted
from mim_zoo.paths import read_config

from .budget import Budget
from .rows import Row, Size, Tuning

PRETRAIN, CORRUPTED = 'pretrain', 'corrupted'
Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """Commands that together end with a file.

    Args:
        commands: the name of a tool and its arguments, each.
        result: exists when the step is done.
        facts: what decides about the result, also in the steps that it starts from;
            one of a folder, or of a file of results, is never mixed with another.
        data_root: where the images are; of one folder, too.
    """

    name: str
    folder: Path
    commands: tuple[tuple[str, ...], ...]
    result: Path
    facts: Facts
    data_root: str = ''


@dataclass(frozen=True)
class Plan:
    """The steps of a row and a seed; each needs those before it.

    Args:
        facts: of all steps that there are.
        needs: steps done before that those of the plan start from.
    """

    size: str
    row: Row
    seed: int
    steps: tuple[Step, ...]
    facts: Mapping[str, Facts]
    needs: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return f'{self.row.name}, seed {self.seed}'


def plan_rows(
    size: Size,
    names: Sequence[str] | None,
    seeds: Sequence[int],
    budget: Budget,
    data_root: str,
    work: Path,
) -> list[Plan]:
    """Of rows by name (None: all) for the first seed, then for the next, each once.

    Raises ValueError as ``plan_row`` does, and for a row that there is not.
    """
    rows = size.rows if names is None else [size.row(name) for name in names]
    return [
        plan_row(size, row, seed, budget, data_root, work)
        for seed in dict.fromkeys(seeds)
        for row in dict.fromkeys(rows)
    ]


def plan_row(
    size: Size, row: Row, seed: int, budget: Budget, data_root: str, work: Path
) -> Plan:
    """The steps of ``budget`` for a row, which work below the folder ``work``.

    Raises ValueError for a step that there is not, one that needs another which is
    neither wished nor done, one that needs a package, and for epochs too few for a
    config's schedule.
    """
    folder = work / size.name / f'{row.name}_seed{seed}'
    maker = _Maker(size, row, seed, budget, data_root, folder)
    steps = {step.name: step for step in maker.steps()}
    wished = budget.steps or tuple(steps)
    known = (PRETRAIN, *(tuning.name for tuning in size.tunings), CORRUPTED)
    if unknown := [name for name in wished if name not in known]:
        raise ValueError(
            f'no step {", ".join(unknown)}, expected of {", ".join(known)}'
        )
    chosen = [step for name, step in steps.items() if name in wished]
    needs: list[Step] = []
    for step in chosen:
        for needed in map(steps.get, maker.before(step.name)):
            if needed is None or needed in (*chosen, *needs):
                continue
            if not needed.result.is_file():
                raise ValueError(
                    f'{row.name}, seed {seed}: {step.name} needs {needed.name}, which '
                    f'is not among the steps and not done in {needed.folder}'
                )
            needs.append(needed)
        if step.name == CORRUPTED:
            Corrupt(CORRUPTIONS[0], SEVERITIES[0])  # its package is there
        else:
            _check_epochs(step.facts)
    facts = {name: step.facts for name, step in steps.items()}
    return Plan(size.name, row, seed, tuple(chosen), facts, tuple(needs))


def facts_of(size: Size, row: Row, seed: int, budget: Budget) -> dict[str, Facts]:
    """{step: what decides about its result}."""
    maker = _Maker(size, row, seed, budget, '', Path())
    return {step.name: step.facts for step in maker.steps()}


@dataclass(frozen=True)
class _Maker:
    size: Size
    row: Row
    seed: int
    budget: Budget
    data_root: str
    folder: Path

    def steps(self) -> list[Step]:
        found = [self.pretraining()] if self.row.pretrain else []
        found += [self.finetuning(tuning) for tuning in self.size.tunings]
        return [*found, self.corrupted()]

    def before(self, step: str) -> tuple[str, ...]:
        """The steps that one starts from."""
        if step == PRETRAIN:
            return ()
        return (self._most().name, PRETRAIN) if step == CORRUPTED else (PRETRAIN,)

    def pretraining(self) -> Step:
        assert self.row.pretrain
        cfg = read_config(find_config(self.row.pretrain))
        epochs = self.budget.epochs or cfg.train_cfg.max_epochs
        options = {'train_cfg.max_epochs': epochs, **_stages(cfg, epochs)}
        folder = self.folder / PRETRAIN
        return Step(
            PRETRAIN,
            folder,
            (self._train(self.row.pretrain, folder, options),),
            folder / 'summary.json',
            self._facts(config=self.row.pretrain, epochs=epochs),
            self.data_root,
        )

    def finetuning(self, tuning: Tuning) -> Step:
        epochs = max(1, round(tuning.epochs * self.budget.tuning_epochs))
        # Measured afterwards, by the last weights: no peeping at the test images.
        options: dict[str, Any] = {
            'train_cfg.max_epochs': epochs,
            'train_cfg.val_begin': epochs + 1,
            'train_dataloader.dataset.share': tuning.share,
            'train_dataloader.dataset.seed': self.seed,
            'default_hooks.checkpoint.save_best': None,
        }
        if tuning.batch:
            options['train_dataloader.batch_size'] = tuning.batch
        after = None
        if self.row.pretrain:
            after = self.pretraining()
            begin = after.folder / f'epoch_{after.facts["epochs"]}.pth'
            options['model.backbone.init_cfg.checkpoint'] = begin
        folder = self.folder / tuning.name
        result = folder / 'metrics.json'
        return Step(
            tuning.name,
            folder,
            (
                self._train(self.row.finetune, folder, options),
                self._test(folder / f'epoch_{epochs}.pth', result),
            ),
            result,
            self._facts(
                config=self.row.finetune,
                epochs=epochs,
                share=tuning.share,
                batch=tuning.batch,
                after=after and after.facts,
            ),
            self.data_root,
        )

    def corrupted(self) -> Step:
        """Of the encoder that was fine-tuned with the most labels."""
        tuned = self.finetuning(self._most())
        severities = sorted(set(self.budget.severities or self.size.severities))
        share = self.budget.corruption_share or self.size.corruption_share
        folder = self.folder / CORRUPTED
        result = folder / 'metrics.json'
        more = (
            *('--corruptions', 'all', '--corruption-share', str(share)),
            *('--severities', *map(str, severities)),
        )
        checkpoint = tuned.folder / f'epoch_{tuned.facts["epochs"]}.pth'
        test = self._test(checkpoint, result, *more)
        facts = dict(severities=severities, share=share, after=tuned.facts)
        return Step(CORRUPTED, folder, (test,), result, facts, self.data_root)

    def _most(self) -> Tuning:
        return max(self.size.tunings, key=lambda tuning: tuning.share)

    def _facts(self, **own: Any) -> Facts:
        return dict(seed=self.seed, options=list(self.budget.options), **own)

    def _train(
        self, config: str, folder: Path, options: Mapping[str, Any]
    ) -> tuple[str, ...]:
        own = {'randomness.seed': self.seed, **options}
        own['default_hooks.checkpoint.max_keep_ckpts'] = 1
        words = [f'{key}={_word(value)}' for key, value in own.items()]
        where = ('--work-dir', str(folder), '--resume', '--auto-scale-lr')
        return ('train.py', config, *where, *self._options(*words))

    def _test(self, checkpoint: Path, result: Path, *more: str) -> tuple[str, ...]:
        where = ('--work-dir', str(result.parent), '--out', str(result))
        words = ('test.py', self.row.finetune, str(checkpoint), *where, *more)
        return (*words, *self._options('model.backbone.init_cfg=None'))

    def _options(self, *words: str) -> tuple[str, ...]:
        root = f'data_root={quoted(self.data_root)}'
        return ('--cfg-options', root, *words, *self.budget.options)


def _check_epochs(facts: Facts) -> None:
    """ValueError if a step's epochs are too few for its schedule."""
    cfg = read_config(find_config(facts['config']))
    cfg.merge_from_dict(checked_options(cfg, parse_options(facts['options'])))
    if found := too_late(cfg.param_scheduler, dict(epoch=facts['epochs'])):
        raise ValueError(
            f'{facts["config"]}: {found[0]}; raise --epochs or --tuning-epochs'
        )


def _stages(cfg: Config, epochs: int) -> dict[str, Any]:
    """Options that begin later stages at the same shares of so many epochs."""
    staging = cfg.get('default_hooks', {}).get('staging')
    if staging is None:
        return {}
    wished = cfg.train_cfg.max_epochs
    starts = [start * epochs // wished for start in staging.boundaries]
    if len({0, *starts}) <= len(starts):
        raise ValueError(
            f'{Path(cfg.filename).stem}: {epochs} epochs are too few for stages that '
            f'begin at {list(staging.boundaries)} of {wished}'
        )
    names = ('default_hooks.staging.boundaries', 'param_scheduler.0.boundaries')
    return dict.fromkeys(names, starts)


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f'[{",".join(map(str, value))}]'
    return quoted(str(value)) if isinstance(value, Path) else str(value)
