"""What a row and a seed gave, as one JSON file that is kept in the repository."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mim_zoo.benchmark import Stepper, Work, our_side
from mim_zoo.benchmark.workers import Worker
from mim_zoo.locks import locked
from mim_zoo.options import parse_options
from mim_zoo.paths import write_text

from .budget import Budget
from .plan import PRETRAIN, Facts, Plan, Step, facts_of
from .rows import Size
from .running import compare, read_record

LOCK = '.results.lock'
KEPT = ('facts', 'machine', 'versions')  # of a step's record
Result = Mapping[str, Any]
Results = Mapping[str, Sequence[Result]]  # {row: by seed}


def file_of(folder: Path, plan: Plan) -> Path:
    """The file of a row and a seed."""
    return folder / f'{plan.size}_{plan.row.name}_seed{plan.seed}.json'


def check_results(folder: Path, plans: Iterable[Plan]) -> None:
    """ValueError if a file has a step that was run with other decisions."""
    for plan in plans:
        file = file_of(folder, plan)
        _check(file, _read(file), plan.facts, 'take another --results folder')


def _check(
    file: Path, result: Result, wished: Mapping[str, Facts], remedy: str
) -> None:
    for name, step in result.get('steps', {}).items():
        if difference := compare(step.get('facts', {}), wished.get(name, {})):
            raise ValueError(f'{file}: {name} was run with {difference}; {remedy}')


def add_step(folder: Path, plan: Plan, step: Step) -> bool:
    """Put what a finished step gave into the file of its row and seed.

    Returns whether it was not there yet.
    """
    file = file_of(folder, plan)
    found = json.loads(step.result.read_text())
    record = read_record(step) or {}
    new = {**{name: record[name] for name in KEPT}, 'found': found}
    if _read(file).get('steps', {}).get(step.name) == new:
        return False
    flops = training_flops(step.facts) if step.name == PRETRAIN else None
    with locked(folder / LOCK, wait=True):
        known = _read(file)
        result = dict(
            size=plan.size,
            row=plan.row.name,
            title=plan.row.title,
            seed=plan.seed,
            flops_per_image=flops or known.get('flops_per_image'),
            steps={**known.get('steps', {}), step.name: new},
        )
        write_text(file, json.dumps(result, indent=1) + '\n')
    return True


def training_flops(facts: Facts) -> float:
    """Of one image, there and back; counted on a CPU in a process of its own."""
    config, options = facts['config'], parse_options(facts['options'])
    with Worker(config, Stepper, our_side(config, options), Work(batch=2)) as worker:
        worker.call('prepare', worker.call('image_shape'), 1)
        return worker.call('flops_per_image')


def read_results(folder: Path, size: Size) -> Results:
    """What a folder has of a size.

    Raises ValueError for a step that was run with another budget than ``Budget()``: its
    figures would stand beside what they cannot be compared with.
    """
    found: dict[str, list[Result]] = {}
    for file in sorted(folder.glob(f'{size.name}_*.json')):
        result = _read(file)
        row = size.row(result['row'])
        wished = facts_of(size, row, result['seed'], Budget())
        _check(file, result, wished, 'run it without a smaller budget, or remove it')
        found.setdefault(row.name, []).append(result)
    return found


def results_of(folder: Path, plans: Iterable[Plan]) -> Results:
    """What a folder has of these plans."""
    found: dict[str, list[Result]] = {}
    for plan in plans:
        if result := _read(file_of(folder, plan)):
            found.setdefault(plan.row.name, []).append(result)
    return found


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(
            f'{file}: expected JSON as run_zoo.py writes it, got {error}; restore or '
            'delete the file'
        ) from error
