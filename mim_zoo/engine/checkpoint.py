"""Checkpoints that survive a kill, a full disk and a truncated file.

A file is written beside its target, then renamed; what it replaces goes only after.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections import deque
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner

from mim_zoo.registry import HOOKS

from ..paths import whole_file
from .loading import read_checkpoint

ATOMIC = {'backend': 'atomic'}
_STALE = re.compile(r'\..+\.\d+\.tmp')  # as whole_file names them
_NUMBERED = re.compile(r'(?!best_)(.*?)(\d+)')  # epoch_12, iter_3000
_PUBLISHED = re.compile(r'.*-[0-9a-f]{8}')  # epoch_12-1f3a90bc


class AtomicBackend(LocalBackend):
    """Local files that are whole or absent: never half of one under its final name.

    A failed write raises OSError saying where, how much space there is, what to do.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes."""
        path = Path(filepath)
        try:
            with whole_file(path) as temporary:
                temporary.write_bytes(obj)
            _sync_folder(path.parent)
        except OSError as error:
            raise OSError(error.errno, _failure(path, len(obj), error)) from error

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        """Write text."""
        self.put(obj.encode(encoding), filepath)


register_backend('atomic', AtomicBackend, force=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut too."""
    if os.name != 'nt':  # Windows cannot open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _failure(path: Path, size: int, error: OSError) -> str:
    try:
        space = f'{shutil.disk_usage(path.parent).free / 2**20:,.1f} MiB are free there'
    except OSError:
        space = 'its folder cannot be reached'
    return (
        f'Could not write {path} ({error.strerror or error}): it needs '
        f'{size / 2**20:,.1f} MiB, {space}. Checkpoints written before are untouched. '
        'Make room (a smaller max_keep_ckpts, another work_dir), then go on with '
        '--resume.'
    )


def local_backend_args(out_dir: str, given: dict | None) -> dict | None:
    """The atomic backend unless the user chose one or writes to a remote store."""
    return ATOMIC if given is None and '://' not in out_dir else given


def remove_stale(folder: str | Path) -> list[str]:
    """Delete and name the temporary files that a killed run left."""
    stale = [p for p in Path(folder).glob('.*.tmp') if _STALE.fullmatch(p.name)]
    for path in stale:
        path.unlink(missing_ok=True)
    return [path.name for path in stale]


class _Postponed:
    """A file backend that notes what to remove instead of removing it."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.paths: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self.paths.append(path)

    rmtree = remove


@HOOKS.register_module(name=['SafeCheckpointHook', 'CheckpointHook'])
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook; a kill at any moment leaves a whole checkpoint.

    Outdated and formerly best files are removed after their successor is whole.
    """

    backend_args: dict | None
    file_backend: Any
    keep_ckpt_ids: deque

    def before_train(self, runner: Runner) -> None:
        """Remove what a killed run left half written, then start as MMEngine does."""
        folder = str(self.out_dir or runner.work_dir)
        self.backend_args = local_backend_args(folder, self.backend_args)
        super().before_train(runner)
        if is_main_process() and self.backend_args == ATOMIC:
            for place in {str(self.out_dir), runner.work_dir}:
                if names := remove_stale(place):
                    runner.logger.info(f'Removed unfinished files in {place}: {names}')

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        keep, ids = self.max_keep_ckpts, list(getattr(self, 'keep_ckpt_ids', ()))
        if keep > 0:
            if ids[-1:] != [step]:
                ids.append(step)
            # With the outdated ones: a start after a kill before their removal, which
            # is when a list is found too long, makes up for it.
            runner.message_hub.update_info('keep_ckpt_ids', ids)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            marker = Path(runner.work_dir) / 'last_checkpoint'
            AtomicBackend().put_text(str(self.last_ckpt), marker)
        if keep > 0:
            for old in ids[:-keep]:
                outdated = self.filename_tmpl.format(old)
                self._remove(self.file_backend.join_path(self.out_dir, outdated))
            self.keep_ckpt_ids = deque(ids[-keep:], keep)
            runner.message_hub.update_info('keep_ckpt_ids', ids[-keep:])

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        backend = self.file_backend
        postponed = self.file_backend = _Postponed(backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        best = {getattr(self, 'best_ckpt_path', None)}
        best.update(getattr(self, 'best_ckpt_path_dict', {}).values())
        for path in postponed.paths:  # another folder's belong to another run
            if path not in best and Path(path).parent == Path(self.out_dir):
                self._remove(path)

    def _remove(self, path: str) -> None:
        if is_main_process():
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
            elif self.file_backend.isdir(path):
                self.file_backend.rmtree(path)


def check_whole(path: str | Path) -> None:
    """Read a checkpoint to its end; raise ValueError saying what is wrong with it."""
    content = read_checkpoint(path)
    if zipfile.is_zipfile(path):  # torch maps the file and checks no sums
        del content
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except Exception as error:
            raise ValueError(f'{path} is damaged ({error}).') from error
        if damaged:
            raise ValueError(f'{path} is damaged (in its part {damaged}).')


def newest_whole_checkpoint(work_dir: str | Path) -> str | None:
    """The last checkpoint of a run that can be read to its end, None without one.

    Each one passed over is named in a warning, with what is used instead.
    """
    broken: list[str] = []
    chosen: Path | None = None
    for path in _newest_first(Path(work_dir)):
        try:
            check_whole(path)
        except ValueError as error:
            broken.append(str(error))
        else:
            chosen = path
            break
    instead = f'using {chosen} instead' if chosen else 'and there is none before it'
    for reason in broken:
        print_log(f'Passed over a checkpoint: {reason} -> {instead}.', 'current', 30)
    return str(chosen) if chosen else None


def newest_for_all(work_dir: str | Path) -> str | None:
    """The first process's choice, so that all resume from one file."""
    found = [newest_whole_checkpoint(work_dir) if is_main_process() else None]
    broadcast_object_list(found)
    return found[0]


def _named_as(stem: str) -> re.Pattern:
    """Names that differ from this one in their last number only."""
    parts = re.fullmatch(r'(.*?)(\d+)(\D*)', stem)
    if parts is None:
        return _NUMBERED
    before, after = re.escape(parts[1]), re.escape(parts[3])
    return re.compile(rf'({before})(\d+){after}')


def _newest_first(work_dir: Path) -> list[Path]:
    """Numbered checkpoints by number: those named as the file in ``last_checkpoint``.

    By time if that does not help and their names are of several kinds. A higher number
    that is older than that file belongs to an earlier run in the same folder, and is
    left out.
    """
    marker = work_dir / 'last_checkpoint'
    last = Path(marker.read_text().strip()) if marker.is_file() else None
    folders = [work_dir]
    if last and last.parent != work_dir and last.parent.is_dir():
        folders.append(last.parent)
    paths = [path for folder in folders for path in folder.glob('*.pth')]
    current = next((p for p in paths if last and p.name == last.name), None)
    alike = _named_as(current.stem) if current else _NUMBERED
    found: dict[Path, tuple[str, int]] = {}
    for path in paths:
        parts = alike.fullmatch(path.stem)
        if parts and not _PUBLISHED.fullmatch(path.stem):
            found[path] = parts[1], int(parts[2])
    time = {path: path.stat().st_mtime_ns for path in found}
    if len({kind for kind, _ in found.values()}) > 1:
        return sorted(found, key=lambda p: time[p], reverse=True)
    if current in found:
        found = {
            path: (kind, number)
            for path, (kind, number) in found.items()
            if number <= found[current][1] or time[path] >= time[current]
        }
    return sorted(found, key=lambda p: found[p][1], reverse=True)
