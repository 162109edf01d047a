"""Running plans: several at a time, each step once, from where it was stopped."""

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from mim_zoo.paths import write_text

from .plan import Plan, Step

FACTS, LOG, LOCK = 'step.json', 'log.txt', '.lock'
LAST_LINES = 15


class Runs:
    """Runs the steps of plans by the tools of a folder.

    Args:
        tools: the folder.
        threads: of each process; None for PyTorch's choice.
        after: called with every finished step and its plan, one call at a time.
    """

    def __init__(
        self,
        tools: Path,
        threads: int | None = None,
        after: Callable[[Plan, Step], None] = lambda plan, step: None,
    ):
        self.tools = tools
        self.environment = dict(os.environ)
        if threads:
            names = ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')
            self.environment |= dict.fromkeys(names, str(threads))
        self.after = after
        self._turn = threading.Lock()

    def run(self, plans: Sequence[Plan], jobs: int = 1) -> list[str]:
        """Run what is not done yet, ``jobs`` plans at a time; the failures, in words.

        A plan ends with its first failure, the others go on. Raises ValueError, before
        anything runs, if a step was done or begun with other decisions.
        """
        for plan in plans:
            for step in plan.steps:
                _check_facts(step)
        pool = ThreadPoolExecutor(jobs)
        try:
            return [found for found in pool.map(self._run_plan, plans) if found]
        finally:
            pool.shutdown(cancel_futures=True)

    def _run_plan(self, plan: Plan) -> str | None:
        for step in plan.steps:
            if not step.result.is_file() and (failure := self._run_step(step)):
                return f'{plan.row.name}, seed {plan.seed}, {step.name}: {failure}'
            with self._turn:
                self.after(plan, step)
        return None

    def _run_step(self, step: Step) -> str | None:
        write_text(step.folder / FACTS, json.dumps(step.facts, indent=2) + '\n')
        log = step.folder / LOG
        for tool, *words in step.commands:
            with log.open('a') as file:
                status = subprocess.run(
                    [sys.executable, str(self.tools / tool), *words],
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=self.environment,
                ).returncode
            if status:
                last = log.read_text(errors='replace').splitlines()[-LAST_LINES:]
                return f'{tool} ended with status {status}; {log} ends\n' + '\n'.join(
                    last
                )
        if not step.result.is_file():
            return f'{step.result} was not written; see {log}'
        return None


def _check_facts(step: Step) -> None:
    file = step.folder / FACTS
    if not file.is_file():
        return
    old, new = json.loads(file.read_text()), json.loads(json.dumps(step.facts))
    if old != new:
        raise ValueError(
            f'{step.folder} was run with {_changes(old, new)}, now it is '
            f'{_changes(new, old)}; take another --work-dir, or delete that folder'
        )


def _changes(mine: dict, other: dict) -> dict:
    return {key: value for key, value in mine.items() if other.get(key) != value}


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Keep a second process out of the folder; ValueError if there is one already."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / LOCK).open('w') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f'{work}: another run works in this folder; wait for it, or take '
                'another --work-dir'
            ) from None
        yield
