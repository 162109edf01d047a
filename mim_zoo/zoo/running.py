"""Running plans: several at a time, each step once, from where it was stopped."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mim_zoo.benchmark.report import machine, versions
from mim_zoo.locks import locked
from mim_zoo.paths import write_text

from .plan import Facts, Plan, Step

RECORD, LOG, LOCK = 'step.json', 'log.txt', '.run.lock'
LAST_LINES = 15


class Runs:
    """Runs the steps of plans by the tools of a folder.

    Args:
        tools: the folder.
        threads: of each process; None for PyTorch's choice.
        after: called with every finished step and its plan, one call at a time.
        lock: a descriptor that every process inherits.
    """

    def __init__(
        self,
        tools: Path,
        threads: int | None = None,
        after: Callable[[Plan, Step], None] = lambda plan, step: None,
        lock: int | None = None,
    ):
        self.tools = tools
        self.environment = dict(os.environ)
        if threads:
            names = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')
            self.environment |= dict.fromkeys(names, str(threads))
        self.after = after
        self.inherited = () if lock is None else (lock,)
        self._turn = threading.Lock()

    def run(self, plans: Sequence[Plan], jobs: int = 1) -> list[str]:
        """Run what is not done yet, ``jobs`` plans at a time; the failures, in words.

        A plan ends with its first failure, the others go on. Raises ValueError, before
        anything runs, if a step was done or begun with other decisions.
        """
        for plan in plans:
            for step in (*plan.needs, *plan.steps):
                _check_record(step)
        pool = ThreadPoolExecutor(jobs)
        try:
            return [found for found in pool.map(self._run_plan, plans) if found]
        finally:
            pool.shutdown(cancel_futures=True)

    def _run_plan(self, plan: Plan) -> str | None:
        for step in plan.steps:
            try:
                failure = None if step.result.is_file() else self._run_step(step)
                if failure is None:
                    with self._turn:
                        self.after(plan, step)
            except (Exception, SystemExit) as error:  # of this plan only
                failure = f'{type(error).__name__}: {error}'
            if failure is not None:
                return f'{plan}, {step.name}: {failure}'
        return None

    def _run_step(self, step: Step) -> str | None:
        write_record(step)
        log = step.folder / LOG
        for tool, *words in step.commands:
            with log.open('a') as file:
                status = subprocess.run(
                    [sys.executable, str(self.tools / tool), *words],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=self.environment,
                    pass_fds=self.inherited,
                ).returncode
            if status:
                last = log.read_text(errors='replace').splitlines()[-LAST_LINES:]
                return f'{tool} ended with status {status}; {log} ends\n' + '\n'.join(
                    last
                )
        if not step.result.is_file():
            return f'{step.result} was not written; see {log}'
        return None


def write_record(step: Step) -> None:
    """Note in a step's folder what decides about its result, and where it runs."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    record = dict(
        facts=step.facts,
        data_root=step.data_root,
        machine=machine(device),
        versions=versions(),
    )
    write_text(step.folder / RECORD, json.dumps(record, indent=2) + '\n')


def read_record(step: Step) -> dict[str, Any] | None:
    """What was noted there; None if the step was not begun."""
    file = step.folder / RECORD
    return json.loads(file.read_text()) if file.is_file() else None


def compare(old: Facts, new: Facts) -> str:
    """How they differ, in words; empty if they do not."""
    was, now = (json.loads(json.dumps(facts)) for facts in (old, new))
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return ', '.join(f'{name} {was.get(name)} (now {now.get(name)})' for name in names)


def _check_record(step: Step) -> None:
    """ValueError if the folder holds something else than this step of this plan."""
    record = read_record(step)
    if record is None and not step.result.is_file():
        return
    known = record or {}
    root = known.get('data_root', step.data_root)
    if 'facts' not in known:
        difference = f'decisions that {RECORD} does not have'
    elif root != step.data_root:
        difference = f'the data in {root} (now {step.data_root})'
    else:
        difference = compare(known['facts'], step.facts)
    if difference:
        raise ValueError(
            f'{step.folder} was run with {difference}; take another --work-dir, or '
            f'delete {step.folder.parent}'
        )


@contextmanager
def alone(work: Path) -> Iterator[int]:
    """Keep a second run out of the folder; ValueError if there is one already.

    Gives a descriptor for ``Runs``: a trainer that outlives its run keeps others out.
    """
    try:
        with locked(work / LOCK, wait=False) as descriptor:
            yield descriptor
    except BlockingIOError:
        raise ValueError(
            f'{work}: another run works in this folder, or a trainer that one left; '
            'wait for it, or take another --work-dir'
        ) from None
