"""The end of a pre-training run in one table: untrained against trained."""

import json
import time
from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mim_zoo.registry import HOOKS

UNTRAINED = 'untrained_metrics'  # in the message hub, so that a resumed run knows it


@HOOKS.register_module()
class LearningSummaryHook(Hook):
    """Evaluates the untrained model first; prints and saves both results at the end.

    ``work_dir/summary.json`` holds them with images per second (training only, all
    processes, of this start of the run).
    """

    priority = 'LOWEST'  # after the hooks that complete the metrics or write files

    def __init__(self) -> None:
        self.seconds = 0.0
        self.images = 0
        self.metrics: dict[str, float] = {}

    def before_train(self, runner: Runner) -> None:
        if runner.iter == 0:
            runner.val_loop.run()
            runner.message_hub.update_info(UNTRAINED, dict(self.metrics))

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self.metrics = {k: float(v) for k, v in (metrics or {}).items()}

    def before_train_epoch(self, runner: Runner) -> None:
        self._start = time.perf_counter()

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        assert data_batch is not None
        self.images += len(data_batch['inputs']) * runner.world_size

    def after_train_epoch(self, runner: Runner) -> None:
        self.seconds += time.perf_counter() - self._start

    @master_only
    def after_train(self, runner: Runner) -> None:
        untrained = {}
        if UNTRAINED in runner.message_hub.runtime_info:
            untrained = runner.message_hub.get_info(UNTRAINED)
        speed = self.images / self.seconds if self.seconds else 0.0
        summary = dict(
            untrained=untrained,
            trained=self.metrics,
            images_per_second=round(speed, 1),
            images_seen=self.images,
        )
        work_dir = Path(runner.work_dir).resolve()
        (work_dir / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n')
        runner.logger.info('\n' + self._table(untrained, speed, work_dir))

    def _table(self, untrained: dict, speed: float, work_dir: Path) -> str:
        names = [n for n in self.metrics if 'time' not in n]
        width = max([len(name) for name in names] + [16])
        lines = [
            'Summary: held-out images, fixed masks',
            f'  {"":{width}}  untrained    trained',
        ]
        for name in names:
            before = untrained.get(name)
            first = '        -' if before is None else f'{before:9.3f}'
            lines.append(f'  {name:{width}}  {first}  {self.metrics[name]:9.3f}')
        pictures = sorted(
            (work_dir / 'reconstructions').glob('*.png'),
            key=lambda p: p.stat().st_mtime,
        )
        checkpoint = work_dir / 'last_checkpoint'
        lines += [
            f'  {self.images:,} images seen, {speed:,.0f} images/s',
            f'  everything is in {work_dir}',
        ]
        if checkpoint.exists():
            lines.append(f'  checkpoint       {checkpoint.read_text().strip()}')
        if pictures:
            lines.append(f'  reconstructions  {pictures[-1]}')
        return '\n'.join(lines)
