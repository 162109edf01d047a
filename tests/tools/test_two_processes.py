"""tools/dist_train.sh on two CPU processes against one, with the real model."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
CONFIG = """
_base_ = '{root}/configs/photos/mae_vit-micro-p4_photos-32px.py'
train_dataloader = dict(
    batch_size={batch}, dataset=dict(pictures=['chelsea', 'coffee'], indices=32)
)
train_cfg = dict(max_epochs=3)
custom_hooks = []
val_dataloader = val_cfg = val_evaluator = None
test_dataloader = test_cfg = test_evaluator = None
"""


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    """The same global batch: masks and crops do not depend on the process."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, 'PORT': port, 'PYTHON': sys.executable}
    weights = []
    for processes, batch in ((1, 8), (2, 4)):
        config = tmp_path / f'{processes}.py'
        config.write_text(CONFIG.format(root=ROOT, batch=batch))
        work_dir = tmp_path / str(processes)
        script = [str(ROOT / 'tools' / 'dist_train.sh'), str(config), str(processes)]
        done = subprocess.run(
            [*script, '--work-dir', str(work_dir)],
            env=env,
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        state = torch.load(work_dir / 'epoch_3.pth', weights_only=False)
        weights.append(state['state_dict'])
    for name, one in weights[0].items():
        two = weights[1][name]
        if name.endswith('qkv.bias'):
            # softmax does not see the keys' bias: its gradient is rounding noise,
            # which AdamW brings to the size of a step
            keys = slice(len(one) // 3, 2 * len(one) // 3)
            one[keys] = two[keys] = 0
        torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-5)
