"""Where the configs are that came with the code, and reading one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config

PACKAGE = Path(__file__).resolve().parent
EXTRAS = {'mmdet': 'detection', 'mmseg': 'segmentation'}  # in setup.py


def config_folder() -> Path | None:
    """Those of a checkout, else those installed beside the code; None without any."""
    folders = [PACKAGE / '.mim' / 'configs']
    if (PACKAGE.parent / 'setup.py').is_file():
        folders.insert(0, PACKAGE.parent / 'configs')
    return next((folder for folder in folders if folder.is_dir()), None)


def shipped_configs() -> dict[str, Path]:
    """{path below the folder: file} of every config, base files left out."""
    root = config_folder()
    if root is None:
        return {}
    return {
        str(path.relative_to(root)): path
        for path in sorted(root.rglob('*.py'))
        if '_base_' not in path.parts
    }


def shipped_config(name: str | Path) -> Path | None:
    """A config by its path below the folder or by its bare name, '.py' optional."""
    root = config_folder()
    if root is None:
        return None
    for path in (root / name, root.parent / name):
        for candidate in (path, Path(f'{path}.py')):
            if candidate.is_file():
                return candidate
    for path in shipped_configs().values():
        if str(name) in (path.stem, path.name):
            return path
    return None


def read_config(path: Path) -> Config:
    """The config in a file; ValueError if it needs a package that is missing."""
    try:
        return Config.fromfile(path)
    except ModuleNotFoundError as error:
        for package, extra in EXTRAS.items():
            # Python's own words, and MMEngine's
            if error.name == package or str(error).startswith(f'{package} is not in'):
                raise ValueError(
                    f"{path} needs {package}: pip install 'mim-zoo[{extra}]'"
                ) from error
        raise


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that becomes it if nothing goes wrong."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        temporary.touch()
        mode = temporary.stat().st_mode  # as the umask says; safetensors is stricter
        yield temporary
        temporary.chmod(mode)
        with temporary.open('rb+') as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file that appears whole or not at all; its folder is made."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding='utf-8')
