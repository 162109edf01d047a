import argparse
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from golden_models import same

from mim_zoo.conversion import convert
from mim_zoo.engine.loading import (
    load_weights,
    read_checkpoint,
    save_state_dict,
    state_dict_of,
)
from mim_zoo.models import MIMViT

ARCH = dict(embed_dim=48, depth=4, num_heads=4)


@pytest.fixture
def official(tmp_path, mae) -> Path:
    path = tmp_path / 'official.pth'
    torch.save({'model': mae, 'epoch': 1}, path)
    return path


def read(path):
    return state_dict_of(read_checkpoint(path))


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_official_to_ours_and_back(tool, tmp_path, official, mae, capsys, suffix):
    ours, back = tmp_path / f'new/ours{suffix}', tmp_path / f'back{suffix}'
    tool.main([str(official), str(ours)])
    said = capsys.readouterr().out
    assert 'names of mae' in said
    assert 'ViT 48 x 4, patch 16' in said
    assert 'dropped: nothing' in said
    encoder = MIMViT(ARCH, img_size=64)
    assert load_weights(encoder, ours, prefix='backbone.').share == 1
    tool.main([str(ours), str(back), '--to', 'mae'])
    written = read(back)
    assert written.keys() == mae.keys()
    assert all(torch.equal(written[k], mae[k]) for k in mae)
    if suffix == '.pth':  # where the official code looks
        assert 'model' in torch.load(back, weights_only=True)


def test_export_to_timm_says_how_to_build_it(tool, tmp_path, official, capsys):
    dst = tmp_path / 'timm.safetensors'
    tool.main([str(official), str(dst), '--to', 'timm', '--num-heads', '4'])
    said = capsys.readouterr().out
    assert 'head.decoders.0.mask_token' in said  # what timm cannot hold
    line = next(x for x in said.splitlines() if x.startswith('timm.create_model'))
    model = eval(line, {'timm': timm}).eval()
    ours = MIMViT(ARCH, img_size=64).eval()
    load_weights(ours, convert(read(official)).state, prefix='backbone.')
    images = torch.randn(2, 3, 64, 64)
    tokens = model.forward_features(images)[:, 1:]
    (maps,) = ours(images)
    torch.testing.assert_close(maps.flatten(2).transpose(1, 2), tokens)


def test_an_export_that_computes_something_else_is_not_kept(
    tool, tmp_path, official, monkeypatch
):
    dst = tmp_path / 'timm.pth'
    dst.write_bytes(b'before')
    monkeypatch.setattr(tool, 'compare_with_timm', lambda *_: float('nan'))
    command = [str(official), str(dst), '--to=timm', '--num-heads=4', '--force']
    with pytest.raises(ValueError, match='computes something else'):
        tool.main(command)
    assert dst.read_bytes() == b'before'
    assert sorted(p.name for p in tmp_path.iterdir()) == ['official.pth', 'timm.pth']


def test_backbone_only(tool, tmp_path, official, capsys):
    tool.main([str(official), str(tmp_path / 'b.pth'), '--backbone-only'])
    assert all(k.startswith('backbone.') for k in read(tmp_path / 'b.pth'))
    assert 'head.decoders.0.pred.weight' in capsys.readouterr().out


def test_the_encoder_of_a_fine_tuned_model_goes_to_timm(
    tool, tmp_path, fine_tuned, capsys
):
    src, dst = tmp_path / 'tuned.pth', tmp_path / 'timm.pth'
    torch.save({'model': fine_tuned}, src)
    options = ['--to=timm', '--num-heads=4', '--backbone-only']
    tool.main([str(src), str(dst), *options])
    said = capsys.readouterr().out
    line = next(x for x in said.splitlines() if x.startswith('timm.create_model'))
    model = eval(line, {'timm': timm}).eval()
    ours = MIMViT(ARCH, img_size=64, final_norm=False).eval()
    load_weights(ours, convert(fine_tuned).state, prefix='backbone.', min_share=1.0)
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        model.forward_features(images), ours.forward_features(images)
    )


@pytest.mark.parametrize('kind', ['mixmim', 'mixmim_encoder', 'mixmim_tuned'])
def test_mixmim_to_ours_to_mmpretrain_and_back(tool, tmp_path, request, capsys, kind):
    source = request.getfixturevalue(kind)
    paths = [tmp_path / name for name in ('src.pth', 'ours.pth', 'mm.safetensors')]
    back = tmp_path / 'back.pth'
    torch.save({'model': source}, paths[0])
    tool.main([str(paths[0]), str(paths[1])])
    said = capsys.readouterr().out
    assert 'names of mixmim' in said
    assert 'MixMIM encoder 16 x 1-1-2-1' in said
    assert 'dropped: nothing' in said
    assert 'left out, follows from the rest: backbone.layers.0.' in said
    assert 'relative_position_index and 3 more\n' in said
    tool.main([str(paths[1]), str(paths[2]), '--to', 'mmpretrain'])
    assert 'left out' not in capsys.readouterr().out
    tool.main([str(paths[2]), str(back), '--to', 'mixmim'])
    assert 'names of mmpretrain' in capsys.readouterr().out
    assert same(torch.load(back, weights_only=True)['model'], source)


@pytest.mark.parametrize('kind', ['deepmim', 'dbot'])
def test_feature_methods_to_ours_and_back(tool, tmp_path, request, capsys, kind):
    source = request.getfixturevalue(kind)
    src, ours, back = (tmp_path / name for name in ('a.pth', 'b.safetensors', 'c.pth'))
    torch.save({'model': source, 'epoch': 1599}, src)
    tool.main([str(src), str(ours)])
    said = capsys.readouterr().out
    assert f'names of {kind}\n' in said
    assert 'dropped: nothing' in said
    assert ('4 decoders of width 32\n' in said) == (kind == 'deepmim')
    tool.main([str(ours), str(back), '--to', kind])
    assert same(torch.load(back, weights_only=True)['model'], source)


def test_mff_to_ours_and_back(tool, tmp_path, mff, capsys):
    src, ours, back = (tmp_path / f'{name}.safetensors' for name in 'abc')
    save_state_dict(mff, src)
    tool.main([str(src), str(ours)])
    said = capsys.readouterr().out
    assert '3 levels fused, decoder of width 32' in said
    assert 'dropped: nothing' in said
    tool.main([str(ours), str(back), '--to', 'mmpretrain'])
    assert same(read(back), mff)
    tool.main([str(src), str(tmp_path / 't.pth'), '--to=timm', '--num-heads=4'])
    said = capsys.readouterr().out
    assert 'neck.fusions.0.proj_weights' in said
    assert 'largest difference to timm' in said


def test_mixmim_does_not_go_to_timm(tool, tmp_path, mixmim):
    src = tmp_path / 'src.pth'
    torch.save(mixmim, src)
    with pytest.raises(ValueError, match='timm has no place for a MixMIM encoder'):
        tool.main([str(src), str(tmp_path / 'timm.pth'), '--to', 'timm'])
    assert [p.name for p in tmp_path.iterdir()] == ['src.pth']


@pytest.mark.parametrize('target', ['ours', 'mixmim', 'mmpretrain'])
def test_a_file_that_does_not_fill_an_encoder_is_not_kept(
    tool, tmp_path, mixmim, target
):
    name = 'layers.2.blocks.0.norm1.weight'
    src = tmp_path / 'src.pth'
    torch.save({k: v for k, v in mixmim.items() if k != name}, src)
    with pytest.raises(ValueError, match=name):
        tool.main([str(src), str(tmp_path / 'dst.pth'), '--to', target])
    assert [p.name for p in tmp_path.iterdir()] == ['src.pth']


def test_nothing_is_overwritten_without_force(tool, tmp_path, official):
    dst = tmp_path / 'ours.pth'
    dst.write_bytes(b'mine')
    with pytest.raises(ValueError, match='--force'):
        tool.main([str(official), str(dst)])
    assert dst.read_bytes() == b'mine'
    tool.main([str(official), str(dst), '--force'])
    assert 'backbone.cls_token' in read(dst)


def test_old_pickles_need_trust(tool, tmp_path, mae):
    src, dst = tmp_path / 'old.pth', tmp_path / 'ours.safetensors'
    torch.save({'model': mae, 'args': argparse.Namespace(lr=1)}, src)
    with pytest.raises(ValueError, match='--trust'):
        tool.main([str(src), str(dst)])
    tool.main([str(src), str(dst), '--trust'])
    assert 'backbone.cls_token' in read(dst)


def test_other_endings_are_refused(tool, tmp_path, official):
    with pytest.raises(ValueError, match=r'\.safetensors'):
        tool.main([str(official), str(tmp_path / 'ours.onnx')])


@pytest.mark.slow
def test_the_command(tool, tmp_path, fine_tuned):
    src = tmp_path / 'src.safetensors'
    save_state_dict(fine_tuned, src)

    def run(*args):
        command = [sys.executable, tool.__file__, *map(str, args)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    done = run(src, 'out.pth', '--to', 'timm', '--num-heads', 4)
    assert done.returncode == 0, done.stderr
    assert "global_pool='avg', num_classes=5" in done.stdout
    failed = run(src, 'out.pth')
    assert failed.returncode == 1
    assert failed.stderr.startswith('error: out.pth exists')
    assert 'Traceback' not in failed.stderr
