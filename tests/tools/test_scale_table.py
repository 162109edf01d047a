"""What a run needs, and the page that says so."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from measuring import write
from test_cli import error_of

from mim_zoo.benchmark.needs import HEAD, Needs, needs_of, needs_table

ROOT = Path(__file__).resolve().parents[2]


def numbers(row: str) -> list[float]:
    """Of its cells after the name."""
    return [float(n) for n in re.findall(r'\| ([\d.]+)', row)]


def test_hours_and_state() -> None:
    needs = Needs(
        trained=1000, frozen=100, flops=2e9, activations=3 * 2**20,
        checkpointed=2**20, gpus=4, batch=8, accumulated=2, epochs=3, shardable=True,
    )  # fmt: skip
    assert needs.state() == 16_400 and needs.state(4) == 4_100
    assert needs.hours(1e12) == pytest.approx(2e9 * 1_281_167 * 3 / 4e12 / 3600)
    row = needs_table([('a/b_c_4xb8-x', needs)], 1.0, 1.0, 'there').splitlines()[-1]
    assert row.startswith('| [b_c](there/a/b_c_4xb8-x.py), 3 epochs | 0 M | 2 | 4 x 8')
    assert row.endswith(' | 3 | 1 | 1 |')
    assert '| 4 x 8 x 2 | 0.0 | 0.00 | 0.00 | 3 |' in row
    alone = replace(needs, shardable=False)
    row = needs_table([('a/b_c_4xb8-x', alone)], 1.0, 1.0, 'there').splitlines()[-1]
    assert '| 4 x 8 x 2 | 0.0 | - | - | 3 |' in row


def test_counts_are_those_of_the_model(tmp_path) -> None:
    """Twice the decoder's depth: its block keeps so much more, in bf16 and fp32."""
    found = []
    for depth in (1, 2):
        path = write(tmp_path, f'x_1xb{depth}', depth=depth)
        found.append(needs_of(str(path)))
    one, two = found
    assert (one.gpus, one.accumulated, one.frozen > 0) == (1, 1, True)
    assert one.shardable
    width, tokens, heads = 24, 1 + 64, 2
    assert two.trained - one.trained == 12 * width**2 + 13 * width
    assert two.flops > one.flops
    block = two.activations - one.activations
    # at least its input, q, k, v, and the hidden layer before and after GELU, in bf16
    least = 2 * tokens * width * (1 + 3 + 4 + 4)
    assert least < block < 4 * least + 4 * heads * tokens
    assert one.checkpointed < one.activations


def test_the_page_is_what_the_code_says() -> None:
    page = (ROOT / 'docs' / 'scale.md').read_text()
    assert HEAD in page
    name = 'mae/mae_vit-base-p16_8xb512-amp-coslr-800e_in1k'
    row = next(line for line in page.splitlines() if f'{name}.py), ' in line)
    now = needs_table([(name, needs_of(name))], 989, 0.4, '../configs').splitlines()[-1]
    assert numbers(now) == pytest.approx(numbers(row), rel=0.1)
    assert re.sub(r'\d[\d.]*', '', now) == re.sub(r'\d[\d.]*', '', row)


def test_mistakes() -> None:
    assert 'name configs for another' in error_of('scale_table', '--mfu', 0.5)
    assert 'at most 1' in error_of('scale_table', '--mfu', 2, 'mae')
    assert 'does not say for how many GPUs' in error_of(
        'scale_table', 'photos/mae_vit-micro-p4_photos-32px'
    )
