"""The end of a pre-training run in one table: untrained against trained."""

import json
import time
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mim_zoo.paths import write_text
from mim_zoo.registry import HOOKS

TOTALS = 'learning_summary'  # in the message hub, and so in every checkpoint
EVALUATIONS = 'evaluations.json'  # in the work folder


@HOOKS.register_module()
class LearningSummaryHook(Hook):
    """Evaluates the untrained model first; prints and saves both results at the end.

    ``work_dir/summary.json`` holds them with the images seen and images per second, of
    all processes and of the whole run however often it was resumed; evaluating and
    writing checkpoints is not counted as training. Without validation only these are
    told. Weights that no validation has seen at the end are evaluated then. The file's
    ``evaluations`` are all of the run in order, with ``iter`` and ``images_seen``.
    """

    priority = 'LOWEST'  # after the hooks that complete the metrics or write files

    def __init__(self) -> None:
        # Plain values only: a checkpoint is read without running code from it.
        self.totals: dict[str, Any] = dict(
            untrained={},
            trained={},
            evaluated_at=None,
            evaluations=[],
            images=0,
            seconds=0.0,
        )
        self._since: float | None = None

    def before_train(self, runner: Runner) -> None:
        hub = runner.message_hub
        if runner.iter > 0 and TOTALS in hub.runtime_info:
            self.totals |= hub.get_info(TOTALS)
            self._recall_evaluations(runner)
        hub.update_info(TOTALS, self.totals)  # the dict itself, changed in place below
        if runner.val_loop is not None:
            runner.logger.info(
                f'{len(runner.train_dataloader.dataset)} images to train on, '
                f'{len(runner.val_dataloader.dataset)} held out'
            )
        if runner.iter == 0 and runner.val_loop is not None:
            runner.val_loop.run()
            self.totals['untrained'] = self.totals['trained']

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        found = {k: float(v) for k, v in (metrics or {}).items()}
        self.totals['trained'] = found
        self.totals['evaluated_at'] = runner.iter
        point = dict(iter=runner.iter, images_seen=self.totals['images'], **found)
        self._add_evaluations(runner, [point])
        if is_main_process():
            text = json.dumps(self.totals['evaluations'])
            write_text(Path(runner.work_dir) / EVALUATIONS, text)

    def _recall_evaluations(self, runner: Runner) -> None:
        """That of the last epoch came after its checkpoint, and is only in the file."""
        file = Path(runner.work_dir) / EVALUATIONS
        if file.is_file():
            self._add_evaluations(runner, json.loads(file.read_text()))

    def _add_evaluations(self, runner: Runner, points: list[dict]) -> None:
        """One for each iteration up to now, the latest of those that were repeated."""
        known = [*self.totals['evaluations'], *points]
        latest = {point['iter']: point for point in known}
        done = sorted(iteration for iteration in latest if iteration <= runner.iter)
        self.totals['evaluations'] = [latest[iteration] for iteration in done]

    def before_train_epoch(self, runner: Runner) -> None:
        self._since = time.perf_counter()

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        assert data_batch is not None
        # Now and not afterwards: a checkpoint of this iteration is written before that.
        self.totals['images'] += len(data_batch['inputs']) * runner.world_size
        if self._since is None:
            self._since = time.perf_counter()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        self._count_time()

    def before_checkpoint(self, runner: Runner) -> None:
        """Stop the clock until the next iteration; ZooRunner calls this."""
        self._count_time()
        self._since = None

    def after_train_epoch(self, runner: Runner) -> None:
        self._since = None

    def before_val(self, runner: Runner) -> None:
        self._since = None

    def _count_time(self) -> None:
        if self._since is not None:
            now = time.perf_counter()
            self.totals['seconds'] += now - self._since
            self._since = now

    def after_train(self, runner: Runner) -> None:
        if self.totals['evaluated_at'] != runner.iter and runner.val_loop is not None:
            runner.val_loop.run()
        if is_main_process():
            self._write(runner)

    def _write(self, runner: Runner) -> None:
        images, seconds = self.totals['images'], self.totals['seconds']
        speed = images / seconds if seconds else 0.0
        summary = dict(
            untrained=self.totals['untrained'],
            trained=self.totals['trained'],
            images_per_second=round(speed, 1),
            images_seen=images,
            evaluations=self.totals['evaluations'],
        )
        work_dir = Path(runner.work_dir).resolve()
        write_text(work_dir / 'summary.json', json.dumps(summary, indent=2) + '\n')
        runner.logger.info('\n' + self._table(speed, work_dir))

    def _table(self, speed: float, work_dir: Path) -> str:
        untrained, trained = self.totals['untrained'], self.totals['trained']
        names = [name for name in trained if 'time' not in name]
        width = max([len(name) for name in names] + [16])
        lines = ['Summary' + (': held-out images, fixed masks' if names else '')]
        if names:
            lines.append(f'  {"":{width}}  untrained    trained')
        for name in names:
            before = untrained.get(name)
            first = '        -' if before is None else f'{before:9.3f}'
            lines.append(f'  {name:{width}}  {first}  {trained[name]:9.3f}')
        pictures = sorted(
            (work_dir / 'reconstructions').glob('*.png'),
            key=lambda p: p.stat().st_mtime,
        )
        checkpoint = work_dir / 'last_checkpoint'
        lines += [
            f'  {self.totals["images"]:,} images seen, {speed:,.0f} images/s',
            f'  everything is in {work_dir}',
        ]
        if checkpoint.exists():
            lines.append(f'  checkpoint       {checkpoint.read_text().strip()}')
        if pictures:
            lines.append(f'  reconstructions  {pictures[-1]}')
        return '\n'.join(lines)
