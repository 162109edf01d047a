"""tools/pack_shards.py: plain tar files, whole or gone on with, nothing overwritten."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mim_zoo.datasets import (
    ImageFolder,
    ShardedImages,
    TooManyUnreadableError,
    shard_index,
)
from mim_zoo.datasets import shard_packing as packing
from mim_zoo.datasets.shard_index import INDEX_NAME, open_index
from mim_zoo.datasets.shard_packing import pack_shards

TOOL = Path(__file__).parents[2] / 'tools' / 'pack_shards.py'
SIZE = 4096


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / 'images'
    noise = np.random.default_rng(0)
    for number in range(60):
        path = root / f'class {number % 3}' / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 255, (9, 12, 3), np.uint8)).save(path)
    return root


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


def unpacked(shards: Path, into: Path) -> dict[str, bytes]:
    """What tar makes of the shards; no file may be there twice."""
    into.mkdir()
    for path in sorted(shards.glob('*.tar')):
        subprocess.run(['tar', '-xkf', path, '-C', into], check=True)
    return content(into)


def test_tar_gives_the_folder_back(images: Path, tmp_path: Path) -> None:
    long = images / ('a long name ' * 12) / f'{"ä" * 90}.png'
    long.parent.mkdir()
    long.write_bytes((images / 'class 0/0.png').read_bytes())
    before = content(images)
    packed = pack_shards(ImageFolder(str(images)), tmp_path / 'new' / 'out', SIZE)
    out = tmp_path / 'new' / 'out'
    assert content(images) == before == unpacked(out, tmp_path / 'back')
    shards = sorted(out.glob('*.tar'))
    assert packed == (61, len(shards), sum(p.stat().st_size for p in shards), [])
    assert len(shards) > 5
    names = {p.name for p in out.iterdir()} - {p.name for p in shards}
    assert names == {INDEX_NAME}
    assert [p.name for p in (tmp_path / 'new').iterdir()] == ['out']


def test_the_index_is_that_of_the_headers(images: Path, tmp_path: Path) -> None:
    pack_shards(ImageFolder(str(images)), tmp_path / 'out', SIZE)
    written = open_index(tmp_path / 'out')
    (tmp_path / 'out' / INDEX_NAME).unlink()
    found = open_index(tmp_path / 'out')
    assert (written.shards, written.folders) == (found.shards, found.folders)
    assert written.text == found.text and (written.rows == found.rows).all()


def test_classes_are_mixed_as_the_seed_says(images: Path, tmp_path: Path) -> None:
    def labels(name: str, seed: int) -> list[int]:
        pack_shards(ImageFolder(str(images)), tmp_path / name, SIZE, seed)
        data = ShardedImages(str(tmp_path / name), with_label=True)
        assert data.CLASSES == ('class 0', 'class 1', 'class 2')
        return [data.get_data_info(i)['gt_label'] for i in range(len(data))]

    first = labels('a', 0)
    assert set(first[:12]) == {0, 1, 2}
    assert labels('b', 0) == first != labels('c', 1)
    assert content(tmp_path / 'a').keys() == content(tmp_path / 'b').keys()
    for path in (tmp_path / 'a').glob('*.tar'):
        assert path.read_bytes() == (tmp_path / 'b' / path.name).read_bytes()


def test_relative_roots(images: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(images)
    pack_shards(ImageFolder('.'), '../out')
    assert unpacked(tmp_path / 'out', tmp_path / 'back') == content(images)


def test_unreadable_images_are_left_out_and_named(images: Path, tmp_path: Path) -> None:
    whole = (images / 'class 0/3.png').read_bytes()
    (images / 'class 0/3.png').write_bytes(whole[: len(whole) // 2])
    (images / 'class 1/4.png').write_bytes(b'')
    out = tmp_path / 'out'
    with pytest.raises(TooManyUnreadableError, match='of 60 files cannot be read'):
        pack_shards(ImageFolder(str(images)), out, SIZE)
    assert not out.exists()
    done = pack_shards(ImageFolder(str(images), max_unreadable=0.1), out, SIZE)
    assert done.images == 58
    left_out = ' '.join(sorted(done.left_out))
    assert 'class 0/3.png' in left_out and 'class 1/4.png' in left_out
    expected = content(images).keys() - {'class 0/3.png', 'class 1/4.png'}
    assert unpacked(out, tmp_path / 'back').keys() == expected


@pytest.mark.parametrize('kind', ['file', 'folder', 'shards', 'empty', 'link'])
def test_nothing_is_overwritten(images: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / 'out'
    if kind == 'file':
        out.write_text('mine')
    elif kind == 'link':
        out.symlink_to(tmp_path / 'absent')
    elif kind == 'shards':
        pack_shards(ImageFolder(str(images)), out, SIZE)
    else:
        out.mkdir()
        if kind == 'folder':
            (out / 'mine').write_text('mine')
    before = out.read_text() if out.is_file() else content(out)
    with pytest.raises(ValueError, match=r'out is there already: .*overwritten'):
        pack_shards(ImageFolder(str(images)), out, SIZE, seed=1)
    assert before == (out.read_text() if out.is_file() else content(out))


KILLED = """
import os, signal, sys
from mim_zoo.datasets import ImageFolder, shard_packing
append, count = shard_packing._append, 0

def killing(*args):
    global count
    count += 1
    if count == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    append(*args)

shard_packing._append = killing
shard_packing.pack_shards(ImageFolder(sys.argv[1]), sys.argv[2], 4096)
"""


def test_killed_and_gone_on_with(images: Path, tmp_path: Path) -> None:
    out, work = tmp_path / 'out', tmp_path / 'out.part'
    killed = subprocess.run([sys.executable, '-c', KILLED, images, out, '33'])
    assert killed.returncode == -signal.SIGKILL
    kept = content(work)
    assert not out.exists() and sum(name.startswith('.shard') for name in kept) == 1
    lines: list[str] = []
    done = pack_shards(ImageFolder(str(images)), out, SIZE, say=lines.append)
    assert done.images == 60
    assert 10 < int(lines[0].split()[0]) < 33
    pack_shards(ImageFolder(str(images)), tmp_path / 'whole', SIZE)
    went_on, whole = content(out), content(tmp_path / 'whole')
    assert went_on.keys() == whole.keys()
    shards = [name for name in whole if name != INDEX_NAME]
    assert all(went_on[name] == whole[name] for name in shards)
    assert not work.exists()
    assert len(ShardedImages(str(out))) == 60


def interrupted(source: ImageFolder, out: Path, monkeypatch) -> None:
    """Stop with the disk full when the third shard begins."""
    write, calls = packing._write, []

    def full(*args):
        calls.append(args)
        if len(calls) == 3:
            raise OSError(28, 'No space left on device')
        return write(*args)

    with monkeypatch.context() as patch:
        patch.setattr(packing, '_write', full)
        with pytest.raises(OSError, match='No space left'):
            pack_shards(source, out, SIZE)


def test_images_repaired_meanwhile_are_packed(images, tmp_path, monkeypatch) -> None:
    first = int(np.random.default_rng(0).permutation(60)[0])
    source = ImageFolder(str(images), max_unreadable=0.1)
    bad = Path(source.get_data_info(first)['img_path'])
    whole = bad.read_bytes()
    bad.write_bytes(b'')
    interrupted(source, tmp_path / 'out', monkeypatch)
    bad.write_bytes(whole)
    assert pack_shards(source, tmp_path / 'out', SIZE).images == 60
    assert unpacked(tmp_path / 'out', tmp_path / 'back') == content(images)


def test_a_lost_shard_is_packed_again(images, tmp_path, monkeypatch) -> None:
    interrupted(ImageFolder(str(images)), tmp_path / 'out', monkeypatch)
    (tmp_path / 'out.part/shard-000000.tar').unlink()
    pack_shards(ImageFolder(str(images)), tmp_path / 'out', SIZE)
    assert unpacked(tmp_path / 'out', tmp_path / 'back') == content(images)
    written = open_index(tmp_path / 'out')
    assert [name for name, _ in written.shards] == sorted(
        path.name for path in (tmp_path / 'out').glob('*.tar')
    )


def test_work_of_another_folder_is_refused(images, tmp_path, monkeypatch) -> None:
    interrupted(ImageFolder(str(images)), tmp_path / 'out', monkeypatch)
    before = content(tmp_path / 'out.part')
    for path in images.rglob('*.png'):
        Image.new('RGB', (3, 3)).save(path)
    with pytest.raises(ValueError, match=r'out.part holds what is not of .*png in sh'):
        pack_shards(ImageFolder(str(images)), tmp_path / 'out', SIZE)
    (tmp_path / 'other.part').mkdir()
    (tmp_path / 'other.part/mine.txt').write_text('mine')
    with pytest.raises(ValueError, match=r'not of .*: mine.txt'):
        pack_shards(ImageFolder(str(images)), tmp_path / 'other', SIZE)
    assert content(tmp_path / 'out.part') == before


def test_one_process_at_a_time(images: Path, tmp_path: Path) -> None:
    source, out = ImageFolder(str(images)), tmp_path / 'out'
    said: list[str] = []

    def second(line: str) -> None:
        if said or 'shard' not in line:
            return
        with pytest.raises(ValueError, match=r'out.part: another process packs'):
            pack_shards(source, out, SIZE)
        said.append(line)

    assert pack_shards(source, out, SIZE, say=second).images == 60
    assert said and len(ShardedImages(str(out))) == 60
    assert not [path for path in out.iterdir() if path.name[0] == '.']


def test_an_image_packed_twice_is_told(images, tmp_path, monkeypatch) -> None:
    out, said = tmp_path / 'out', []
    monkeypatch.setattr(
        shard_index, 'print_log', lambda text, *_, **__: said.append(text)
    )
    pack_shards(ImageFolder(str(images)), out, SIZE)
    (out / INDEX_NAME).unlink()
    assert len(ShardedImages(str(out))) == 60
    assert len(said) == 1
    shutil.copy(out / 'shard-000000.tar', out / 'shard-000099.tar')
    (out / INDEX_NAME).unlink()
    twice = len(ShardedImages(str(out))) - 60
    assert f'{twice} of {twice + 60} images have the path of another one' in said[-1]
    assert '(shard-000000.tar, shard-000099.tar)' in said[-1]


def tool():
    spec = importlib.util.spec_from_file_location('pack_shards', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command(images: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    (images / 'class 0/3.png').write_bytes(b'')
    out = str(tmp_path / 'out')
    command = [str(images), out, '--shard-size', '0.004']
    with pytest.raises(SystemExit, match=r'error: 1 of 60 files cannot be read'):
        tool().main(command)
    command += ['--max-unreadable', '0.1']
    tool().main(command)
    said = capsys.readouterr()
    assert 'left out: ' in said.err and 'class 0/3.png' in said.err
    assert f'59 images in {len(list(Path(out).glob("*.tar")))} shards' in said.out
    with pytest.raises(SystemExit, match=r'error: .*nothing is overwritten'):
        tool().main(command)
    with pytest.raises(SystemExit, match=r'error: .*at least 1 byte'):
        tool().main([str(images), out + '2', '--shard-size', '0'])
    monkeypatch.setattr(os, 'fsync', lambda _: Path('/absent').stat())
    with pytest.raises(SystemExit, match=r'error: .*goes on after the last whole'):
        tool().main([str(images), out + '3', *command[2:]])
    assert [path.name for path in Path(out + '3.part').iterdir()] == ['.lock']
