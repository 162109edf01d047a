"""Where it was measured, and the table."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import mmengine
import torch
from rich import box
from rich.console import Console
from rich.table import Table

import mim_zoo
from mim_zoo.paths import PACKAGE

from .memory import GIB
from .words import compiled, device_name, ends, or_dash, spread


def machine(device: str) -> dict[str, Any]:
    """Processor, cores, memory in GiB, GPU."""
    gpu = torch.cuda.get_device_name(device) if device.startswith('cuda') else None
    names = ('SC_PAGE_SIZE', 'SC_PHYS_PAGES')
    known = all(name in getattr(os, 'sysconf_names', {}) for name in names)
    size = os.sysconf(names[0]) * os.sysconf(names[1]) / GIB if known else None
    return dict(
        cpu=_processor(),
        cores=os.cpu_count(),
        memory_gib=round(size, 1) if size else None,
        gpu=gpu,
        system=f'{platform.system()} {platform.machine()}',
    )


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    found = None
    if info.is_file():
        found = re.search(r'model name\s*:\s*(.+)', info.read_text())
    return found[1].strip() if found else platform.processor()


def versions() -> dict[str, Any]:
    """Of what is common to all sides; commit ends in '+' if files were changed."""
    return dict(
        python=platform.python_version(),
        torch=torch.__version__,
        mmengine=mmengine.__version__,
        mim_zoo=mim_zoo.__version__,
        commit=_commit(),
    )


def _commit() -> str | None:
    root = PACKAGE.parent
    if not (root / '.git').exists():
        return None
    commit = _git(root, 'rev-parse', 'HEAD')
    changed = _git(root, 'status', '--porcelain', '--untracked-files=no')
    return f'{commit}+' if commit and changed else commit


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ['git', '-C', str(root), *words], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def show(result: dict[str, Any], console: Console | None = None) -> None:
    """Print the sides as a table, then how they compare."""
    console = console or Console()
    table = Table('', box=box.SIMPLE, title=heading(result), title_justify='left')
    for name in ('ms', 'images/s', 'peak MiB', 'GFLOPs/img', 'MFU', 'first loss'):
        table.add_column(name, justify='right')
    for side in result['sides']:
        table.add_row(
            side['name'],
            f'{side["ms_per_step"]:,.1f}',
            f'{side["images_per_second"]:,.2f}',
            or_dash(side['memory']['peak_mib'], ',.0f'),
            f'{side["gflops_per_image"]:.1f}',
            or_dash(side['mfu'], '.1%'),
            or_dash(side.get('first_loss'), '.4f'),
        )
    console.print(table)
    console.print('\n'.join(summary(result)), highlight=False, soft_wrap=True)
    for side in result['sides']:
        if side['profile']:
            console.print(_profile(side))


def show_loaders(result: dict[str, Any], console: Console | None = None) -> None:
    """Print what one process loads, and how far its pixels are from the official."""
    console = console or Console()
    sides = result['sides']
    shape = ' x '.join(str(n) for n in sides[0]['batch_shape'])
    title = (
        f'loading, one process, batches of {shape}, {device_name(result["machine"])}'
    )
    table = Table('', box=box.SIMPLE, title=title, title_justify='left')
    for name in ('images/s', 'times as fast', 'pixels off, of 255', 'values'):
        table.add_column(name, justify='right')
    for side in sides:
        table.add_row(
            side['name'],
            f'{side["images_per_second"]:,.0f}',
            spread(side['speed_ratio']),
            or_dash(side['pixel_difference'], '.2f'),
            side['dtype'],
        )
    console.print(table)


def _profile(side: dict[str, Any]) -> Table:
    title = f'{side["name"]}: one step'
    table = Table(title=title, title_justify='left', box=box.SIMPLE)
    table.add_column('operator', overflow='fold')
    for name in ('ms', 'share', 'calls', 'MiB'):
        table.add_column(name, justify='right')
    for row in side['profile']:
        numbers = (f'{row["ms"]:,.1f}', f'{row["share"]:.1%}', str(row['calls']))
        table.add_row(row['name'], *numbers, f'{row["mib"]:,.1f}')
    return table


def heading(result: dict[str, Any]) -> str:
    """How and where it was measured."""
    given, found = result['arguments'], result['machine']
    words = [_what(result), f'batch {given["batch"]}', given['dtype']]
    words += [*compiled(given), device_name(found)]
    if not found['gpu']:
        threads = sorted({side['threads'] for side in result['sides']})
        words.append(f'threads: {"/".join(str(n) for n in threads)}')
    return ', '.join(words)


def _what(result: dict[str, Any]) -> str:
    if result['command'] == 'step':
        return 'training step'
    passes = 'forward and backward' if result['arguments']['backward'] else 'forward'
    _, height, width = result['sides'][0]['image_shape']
    return f'encoder, {passes}, {height} x {width} px'


def summary(result: dict[str, Any]) -> list[str]:
    """What was measured, and how the first side compares with the second."""
    lines = []
    for side in result['sides']:
        options = [f'{key}={value}' for key, value in side['options'].items()]
        lines.append(' '.join([f'{side["name"]}: {side["config"]}', *options]))
    lines.append(f'peak MiB: {result["memory_meaning"]}')
    if 'speed_ratio' in result:
        (ours, other), speed = result['sides'], result['speed_ratio']
        lines.append(
            f'speed: {ours["name"]} is {speed["median"]:.2f} times as fast as '
            f'{other["name"]} ({ends(speed)} over {len(speed["pairs"])} pairs)'
        )
        if result['memory_ratio']:
            lines.append(
                f'memory: {ours["name"]} needs {result["memory_ratio"]:.2f} times what '
                f'{other["name"]} does'
            )
    return lines
