"""Peak memory of what a process does on a device."""

import gc
import re
from pathlib import Path
from typing import Any

import torch

MEANING = {
    'cuda': (
        'peak of the memory that tensors held on the GPU during the timed steps: '
        'parameters, gradients, optimizer state and activations'
    ),
    'cpu': (
        'peak resident memory of the process during the timed steps, above that '
        'before its first step: gradients, optimizer state and activations, without '
        'parameters and code'
    ),
}
STATUS, CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')
MIB, GIB = 2**20, 2**30


class PeakMemory:
    """``start`` before the first step, ``reset`` before the timed ones, ``read``.

    On the CPU it needs Linux. The kernel's high-water mark (VmHWM) is reset where that
    is allowed; where it is not, the mark must rise during the steps to be theirs.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.before: float | None = None
        self._mark: float | None = None  # the high-water mark when last reset

    def start(self) -> None:
        """Note what is in use without any step."""
        gc.collect()
        self.reset()
        if self.device.type == 'cuda':
            self.before = torch.cuda.memory_allocated(self.device) / MIB
        else:
            self.before = resident('VmRSS')

    def reset(self) -> None:
        """Forget earlier peaks."""
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        try:
            CLEAR.write_text('5')
            self._mark = None
        except OSError:
            self._mark = resident('VmHWM')

    def read(self) -> dict[str, Any]:
        """peak_mib and before_mib; None where the system does not tell."""
        if self.device.type == 'cuda':
            peak: float | None = torch.cuda.max_memory_allocated(self.device) / MIB
        else:
            peak = resident('VmHWM')
            if peak is not None and self._mark is not None and peak <= self._mark:
                peak = None  # the peak is older than the steps
            if peak is not None and self.before is not None:
                peak -= self.before
        return dict(peak_mib=peak, before_mib=self.before)


def resident(key: str) -> float | None:
    """VmRSS (now) or VmHWM (highest) of this process in MiB; None without /proc."""
    try:
        found = re.search(rf'{key}:\s+(\d+) kB', STATUS.read_text())
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None
