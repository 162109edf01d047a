"""What a row and a seed gave, as one JSON file that is kept in the repository."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mim_zoo.benchmark import Stepper, Work, our_side
from mim_zoo.benchmark.report import machine, versions
from mim_zoo.benchmark.workers import Worker
from mim_zoo.paths import write_text

from .plan import PRETRAIN, Plan, Step


def add_step(file: Path, plan: Plan, step: Step, device: str) -> bool:
    """Put what a finished step gave into the file of its row and seed.

    Returns whether it was not there yet; a step keeps the machine that it ran on.
    """
    known = json.loads(file.read_text()) if file.is_file() else {}
    steps = known.get('steps', {})
    found = json.loads(step.result.read_text())
    if steps.get(step.name, {}).get('found') == found:
        return False
    flops = known.get('flops_per_image')
    if step.name == PRETRAIN:
        flops = training_flops(step.facts['config'])
    steps[step.name] = dict(
        facts=step.facts, found=found, machine=machine(device), versions=versions()
    )
    row = plan.row
    result = dict(
        size=plan.size,
        row=row.name,
        title=row.title,
        seed=plan.seed,
        flops_per_image=flops,
        steps=steps,
    )
    write_text(file, json.dumps(result, indent=1) + '\n')
    return True


def training_flops(config: str) -> float:
    """Of one image, there and back; counted on a CPU in a process of its own."""
    with Worker(config, Stepper, our_side(config, {}), Work(batch=2)) as worker:
        worker.call('prepare', worker.call('image_shape'), 1)
        return worker.call('flops_per_image')


def read_results(folder: Path, size: str) -> dict[str, list[Mapping[str, Any]]]:
    """{row: results by seed} of the files of a size."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for file in sorted(folder.glob('*.json')):
        result = json.loads(file.read_text())
        if result['size'] == size:
            found.setdefault(result['row'], []).append(result)
    return found
