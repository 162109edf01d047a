"""Steps run once, from where they were stopped, each plan for itself."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from mim_zoo.zoo.plan import Plan, Step
from mim_zoo.zoo.rows import SIZES
from mim_zoo.zoo.running import Runs, alone, read_record

TOOL = """
import os, sys
file, status = sys.argv[1:]
with open('calls.txt', 'a') as calls:
    calls.write(os.path.basename(os.path.dirname(file)) + '\\n')
print('threads', os.environ.get('OMP_NUM_THREADS'))
if status == '0':
    open(file, 'w').write('{}')
sys.exit('wrong on purpose' if status == '1' else 0)
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tool.py').write_text(TOOL)
    return tmp_path


def make_plan(tmp_path, name, *statuses):
    steps = []
    for i, status in enumerate(statuses):
        folder = tmp_path / name / f'{name}{i}'
        result = folder / 'result.json'
        command = ('tool.py', str(result), str(status))
        steps.append(Step(f'{name}{i}', folder, (command,), result, {'epochs': i}))
    row = SIZES['micro'].row('mae')
    facts = {step.name: step.facts for step in steps}
    return Plan('micro', row, 0, tuple(steps), facts)


def calls(tmp_path):
    file = tmp_path / 'calls.txt'
    return file.read_text().split() if file.exists() else []


def test_each_step_runs_once_and_in_order(tools):
    plan, seen = make_plan(tools, 'a', 0, 0), []
    runs = Runs(tools, threads=1, after=lambda plan, step: seen.append(step.name))
    assert runs.run([plan]) == []
    assert runs.run([plan]) == []
    assert calls(tools) == ['a0', 'a1']
    assert seen == ['a0', 'a1'] * 2
    assert 'threads 1' in (tools / 'a/a0/log.txt').read_text()


def test_a_failure_ends_its_plan_and_no_other(tools):
    plans = [make_plan(tools, 'a', 1, 0), make_plan(tools, 'b', 0, 0)]
    (failure,) = Runs(tools).run(plans, jobs=2)
    assert sorted(calls(tools)) == ['a0', 'b0', 'b1']
    assert failure.startswith('mae, seed 0, a0: tool.py ended with status 1')
    assert failure.endswith('wrong on purpose')


@pytest.mark.parametrize('error', [OSError('disk full'), SystemExit('error: no key')])
def test_a_result_that_cannot_be_kept_costs_no_other_plan(tools, error):
    plans = [make_plan(tools, 'a', 0, 0), make_plan(tools, 'b', 0)]

    def after(plan, step):
        if step.name == 'a0':
            raise error

    (failure,) = Runs(tools, after=after).run(plans)
    assert failure == f'mae, seed 0, a0: {type(error).__name__}: {error}'
    assert calls(tools) == ['a0', 'b0']


def test_a_record_says_where_a_step_ran(tools):
    plan = make_plan(tools, 'a', 0)
    Runs(tools).run([plan])
    record = read_record(plan.steps[0])
    assert record['facts'] == {'epochs': 0}
    assert record['machine']['cores'] and record['versions']['torch']


def test_a_step_without_its_result_is_a_failure(tools):
    (failure,) = Runs(tools).run([make_plan(tools, 'a', 2)])
    assert 'result.json was not written' in failure


def test_other_decisions_are_refused_before_anything_runs(tools):
    first, second = make_plan(tools, 'a', 0), make_plan(tools, 'b', 0)
    (second.steps[0].folder).mkdir(parents=True)
    record = second.steps[0].folder / 'step.json'
    record.write_text(json.dumps({'facts': {'epochs': 5}}))
    with pytest.raises(ValueError, match=r'was run with epochs 5 \(now 0\)'):
        Runs(tools).run([first, second])
    record.write_text(json.dumps({'facts': {'epochs': 0}, 'data_root': '/old'}))
    with pytest.raises(ValueError, match=r'was run with the data in /old \(now '):
        Runs(tools).run([first, second])
    record.write_text(json.dumps({'epochs': 0}))
    with pytest.raises(ValueError, match=r'decisions that step\.json does not have'):
        Runs(tools).run([first, second])
    record.unlink()
    second.steps[0].result.write_text('{}')
    with pytest.raises(ValueError, match=r'decisions that step\.json does not have'):
        Runs(tools).run([first, second])
    assert calls(tools) == []


def test_what_a_step_starts_from_must_be_of_the_same_plan(tools):
    whole = make_plan(tools, 'a', 0, 0)
    Runs(tools).run([replace(whole, steps=whole.steps[:1])])
    before = replace(whole.steps[0], facts={'epochs': 9})
    rest = replace(whole, steps=whole.steps[1:], needs=(before,))
    with pytest.raises(ValueError, match=r'was run with epochs 0 \(now 9\)'):
        Runs(tools).run([rest])
    assert Runs(tools).run([replace(rest, needs=whole.steps[:1])]) == []
    assert calls(tools) == ['a0', 'a1']


def test_one_run_at_a_time_in_a_folder(tmp_path):
    with alone(tmp_path):
        match = 'another run works in this folder'
        with pytest.raises(ValueError, match=match), alone(tmp_path):
            pass
    with alone(tmp_path):
        pass


def test_a_trainer_that_outlives_its_run_keeps_others_out(tmp_path):
    code = 'import sys; sys.stdin.read()'
    with alone(tmp_path) as lock:
        trainer = subprocess.Popen(
            [sys.executable, '-c', code], stdin=subprocess.PIPE, pass_fds=(lock,)
        )
    with pytest.raises(ValueError, match='or a trainer'), alone(tmp_path):
        pass
    trainer.communicate()
    with alone(tmp_path):
        pass
