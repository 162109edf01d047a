"""A process of its own for each side of a comparison, so that memory is its own."""

import multiprocessing
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mmengine.logging import MMLogger

from mim_zoo.paths import PACKAGE

PATIENCE = 10.0  # seconds that a worker gets to end


class Worker:
    """An object that lives in a new process: ``make(*args)`` builds it there.

    ``call`` runs one of its methods and waits. A ValueError raised there is raised
    here; any other exception becomes a RuntimeError with its traceback as text.
    """

    def __init__(self, name: str, make: Callable, *args: Any):
        self.name = name
        context = multiprocessing.get_context('spawn')  # nothing inherited
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, args))
        self._process.start()
        theirs.close()
        try:
            self.answer()
        except BaseException:
            self.close()
            raise

    def call(self, method: str, *args: Any) -> Any:
        """The value of a method with picklable arguments."""
        self.ask(method, *args)
        return self.answer()

    def ask(self, method: str, *args: Any) -> None:
        """Have a method run, and go on meanwhile."""
        self._pipe.send((method, args))

    def answer(self) -> Any:
        """Wait for what was asked."""
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            self._process.join(PATIENCE)
            raise ValueError(
                f'{self.name}: its process ended with status '
                f'{self._process.exitcode}, expected an answer; status -9 is mostly '
                'memory that ran out: take a smaller batch'
            ) from None
        if kind == 'mistake':
            raise ValueError(f'{self.name}: {value}')
        if kind == 'error':
            raise RuntimeError(f'{self.name} failed in its process:\n{value}')
        return value

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def __enter__(self) -> 'Worker':
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def together(workers: Sequence[Worker], method: str, *args: Any) -> list[Any]:
    """The values of a method that all run at the same time."""
    for worker in workers:
        worker.ask(method, *args)
    return [worker.answer() for worker in workers]


def _serve(pipe: Connection, make: Callable, args: tuple) -> None:
    """Build the object, then answer until the other end of the pipe is closed."""
    sys.stdout = sys.stderr  # what libraries print is no result
    MMLogger.get_instance('benchmark', log_level='ERROR')  # a line per parameter
    try:
        served: Any = None
        answer: tuple[str, Any]
        while True:
            try:
                if served is None:
                    served, value = make(*args), None
                else:
                    method, arguments = pipe.recv()
                    value = getattr(served, method)(*arguments)
                answer = ('done', value)
            except (EOFError, KeyboardInterrupt):
                return
            except ValueError as error:
                answer = _told(error)
            except Exception:
                answer = ('error', traceback.format_exc())
            pipe.send(answer)
    except (BrokenPipeError, KeyboardInterrupt):
        return


def _told(error: ValueError) -> tuple[str, str]:
    """A mistake of the user if code of ours says so, else an error."""
    file = traceback.extract_tb(error.__traceback__)[-1].filename
    ours = Path(file).resolve().is_relative_to(PACKAGE)
    return ('mistake', str(error)) if ours else ('error', traceback.format_exc())
