"""What the commands of ``tools/benchmark.py`` have in common on the command line."""

import argparse
import math

import torch

from mim_zoo import cli

from .compare import Schedule
from .measured import COMPILED, Work

STEPS = {'cpu': 1, 'cuda': 20}  # in one timing: a GPU's step is short
WARM_UP = {'cpu': 2, 'cuda': 10}


def add_sides(
    what: argparse._ArgumentGroup,
) -> argparse._MutuallyExclusiveGroup:
    """What changes the config, and what it is compared with."""
    add_options(what, '--cfg-options', 'change the config, and that of --against')
    add_options(
        what,
        '--against-options',
        'compare with the config changed so, or change --against only',
    )
    other = what.add_mutually_exclusive_group()
    other.add_argument('--against', metavar='CONFIG', help='compare with this config')
    return other


def add_model(what: argparse._ArgumentGroup) -> None:
    """Whose training step."""
    model = what.add_mutually_exclusive_group(required=True)
    model.add_argument('--method', help='mae, mff, mixmim, ...: its ImageNet config')
    model.add_argument('--config', help='a path, or a name below configs/')
    what.add_argument('--size', help='of --method (base)')


def add_options(
    what: argparse._ActionsContainer, option: str, description: str
) -> None:
    """Changes of a config, KEY=VALUE."""
    what.add_argument(
        option,
        nargs='+',
        action=cli.Options,
        default={},
        metavar='KEY=VALUE',
        help=description,
    )


def add_how(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """How a model is measured; returns the group of what comes out."""
    how = parser.add_argument_group('how')
    how.add_argument('--batch', type=int, default=16, help='images at once (16)')
    how.add_argument('--dtype', choices=['fp32', 'bf16'], default='fp32')
    how.add_argument(
        '--compile',
        nargs='?',
        const='model',
        choices=COMPILED,
        help="the whole model (the default), or its blocks and a peer's whole model",
    )
    how.add_argument(
        '--device', choices=['cpu', 'cuda'], help='cuda where there is one'
    )
    how.add_argument('--threads', type=int, help="of the CPU (torch's own choice)")
    add_pairs(how)
    how.add_argument('--steps', type=int, help='in one timing (CPU 1, GPU 20)')
    how.add_argument('--warm-up', type=int, help='steps before (CPU 2, GPU 10)')
    out = parser.add_argument_group('what comes out')
    out.add_argument(
        '--peak-tflops', type=float, help='what the device can do at --dtype, for MFU'
    )
    add_json(out)
    add_debug(parser)
    return out


def add_profile(out: argparse._ActionsContainer) -> None:
    """Whether operators are listed."""
    out.add_argument(
        '--profile', type=int, default=0, metavar='ROWS', help='list the top operators'
    )


def add_pairs(how: argparse._ActionsContainer) -> None:
    """How often the sides take turns."""
    how.add_argument('--pairs', type=int, default=5, help='timings of each side (5)')


def add_json(out: argparse._ActionsContainer) -> None:
    """Where the result goes."""
    out.add_argument('--json', metavar='FILE', help='write everything, raw times too')


def add_debug(parser: argparse.ArgumentParser) -> None:
    """How a mistake is told."""
    parser.add_argument(
        '--debug', action='store_true', help='show the traceback of every error'
    )


def read_work(args: argparse.Namespace) -> Work:
    """How a step is done; a wish that this machine cannot fulfil ends the command."""
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    if device == 'cuda' and not torch.cuda.is_available():
        cli.fail('--device cuda: torch finds no GPU here.')
    if args.dtype == 'bf16' and device == 'cpu':
        cli.fail('--dtype bf16 needs a GPU: on a CPU training stays in fp32.')
    check_batch(args.batch)
    if args.threads is not None:
        if args.threads < 1:
            cli.fail(f'--threads: got {args.threads}, expected 1 or more.')
        if device == 'cuda':
            cli.fail('--threads is for the CPU: add --device cpu, or leave it out.')
    return Work(args.batch, args.dtype, args.compile, device, args.threads)


def read_schedule(args: argparse.Namespace, device: str) -> Schedule:
    """How often; defaults by device."""
    steps = STEPS[device] if args.steps is None else args.steps
    warm_up = WARM_UP[device] if args.warm_up is None else args.warm_up
    return Schedule(args.pairs, steps, warm_up)


def check_peak(tflops: float | None) -> None:
    """End the command at a peak that no share can be taken of."""
    if tflops is not None and not 0 < tflops < math.inf:
        cli.fail(f'--peak-tflops: got {tflops}, expected a number above 0.')


def check_profile(rows: int) -> None:
    """End the command at fewer rows than none."""
    if rows < 0:
        cli.fail(f'--profile: got {rows}, expected 0 rows or more.')


def check_batch(batch: int) -> None:
    """End the command at a batch without images."""
    if batch < 1:
        cli.fail(f'--batch: got {batch}, expected 1 or more.')
