"""Images in a folder of class folders, in any other folder, or named by a list."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from mmengine.logging import print_log

from mim_zoo.registry import DATASETS

from .base import ImageDataset
from .image_io import IMAGE_EXTENSIONS

SPLIT_NAMES = {'train', 'training', 'val', 'valid', 'validation', 'test'}


@DATASETS.register_module()
class ImageFolder(ImageDataset):
    """Every image below ``data_root``, or those in ``list_file``, in a fixed order.

    ``with_label=False`` takes any folder, nested or flat. ``with_label=True`` takes one
    folder per class (label = place of its name among the sorted names, or in
    ``metainfo['classes']``, which then also chooses the classes; with ``test_mode``
    some of these may have no image).

    A list file has one ``path`` or ``path label`` per line, label an integer, paths
    relative to ``data_root``, spaces allowed. Without a label a labelled dataset takes
    the class folder. A bare ``n01440764_10026.JPEG`` means
    ``n01440764/n01440764_10026.JPEG`` where that folder exists, so SimCLR's 1% and 10%
    ImageNet lists (2002.05709) work as published.

    A folder or list that cannot be meant raises ValueError.
    """

    def __init__(
        self,
        data_root: str,
        list_file: str | None = None,
        with_label: bool = False,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        max_unreadable: float = 0.01,
        extensions: Sequence[str] = IMAGE_EXTENSIONS,
        metainfo: Mapping | None = None,
        indices: int | Sequence[int] | None = None,
        lazy_init: bool = False,
    ) -> None:
        self.root = Path(data_root).expanduser()
        self.list_file = list_file
        self.with_label = with_label
        self.extensions = tuple(extension.lower() for extension in extensions)
        super().__init__(
            pipeline, test_mode, max_unreadable, metainfo, indices, lazy_init
        )

    def load_data_list(self) -> list[dict]:
        """List ``img_path``, relative to the root, and ``gt_label`` if labelled."""
        self._check_root()
        self._may_lack = self.test_mode and 'classes' in self._metainfo
        if self.list_file is not None:
            return self._from_list(self._find_list(self.list_file))
        if not self.with_label:
            names = list(self._images_below(self.root))
            if not names:
                raise self._nothing_found(self.root)
            return [{'img_path': name} for name in names]
        return self._from_class_folders()

    def get_data_info(self, idx: int) -> dict:
        """Give the list's entry, with its whole path."""
        info = super().get_data_info(idx)
        # for every image: joining by pathlib shows in a profile
        info['img_path'] = os.path.join(self.root, info['img_path'])  # noqa: PTH118
        return info

    def _from_class_folders(self) -> list[dict]:
        items, empty = [], []
        for name, label in self._class_labels().items():
            names = list(self._images_below(self.root / name))
            items += [{'img_path': path, 'gt_label': label} for path in names]
            empty += [] if names else [name]
        if not items:
            raise self._nothing_found(self.root)
        if empty and not self._may_lack:
            raise ValueError(
                f'ImageFolder(with_label=True): {len(empty)} of the class folders of '
                f'{self.root} hold no {_listing(self.extensions)}: {_listing(empty)}. '
                'Fix: fill or remove them, or set metainfo=dict(classes=[...]) to '
                'the classes you want.'
            )
        return items

    def _class_labels(self) -> dict[str, int]:
        """Label of each class folder; also settles ``metainfo['classes']``."""
        folders = class_folders(self.root)
        if not folders:
            raise ValueError(
                'ImageFolder(with_label=True) expects one folder per class in '
                f'{self.root}, found {_contents(self.root)}. Fix: with_label=False '
                'for images without labels, or a list_file with labels.'
            )
        if 'classes' not in self._metainfo:
            if {name.lower() for name in folders} <= SPLIT_NAMES:
                raise ValueError(
                    f'ImageFolder(with_label=True): the folders of {self.root} '
                    f'({_listing(folders)}) are splits, not classes. Fix: data_root='
                    f"'{self.root / folders[0]}'."
                )
            self._metainfo['classes'] = tuple(folders)
        classes = tuple(self._metainfo['classes'])
        absent = [name for name in classes if name not in set(folders)]
        if absent and not self._may_lack:
            raise ValueError(
                f"ImageFolder: metainfo['classes'] names {len(absent)} classes without "
                f'a folder in {self.root}: {_listing(absent)}; folders found: '
                f'{_listing(folders)}.'
            )
        return {name: label for label, name in enumerate(classes)}

    def _from_list(self, list_path: Path) -> list[dict]:
        folders = set(class_folders(self.root))
        labels: dict[str, int] = {}
        items = []
        with list_path.open(encoding='utf-8', errors='surrogateescape') as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                name, label = self._parse(line.strip())
                folder = name.rpartition('_')[0]
                if '/' not in name and folder in folders:
                    name = f'{folder}/{name}'
                item: dict = {'img_path': name}
                if self.with_label:
                    if label is None:
                        labels = labels or self._class_labels()
                        label = labels.get(name.split('/')[0])
                    item['gt_label'] = self._check_label(
                        label, f'{list_path}, line {number}: {line.strip()!r}'
                    )
                items.append(item)
        self._check_listed(items, list_path)
        return items

    def _parse(self, line: str) -> tuple[str, int | None]:
        """Split 'path label' where the label is an integer and the path an image's."""
        name, _, label = line.rpartition(' ')
        name = name.rstrip()
        if label.isdecimal() and name.lower().endswith(self.extensions):
            return name, int(label)
        return line, None

    def _check_label(self, label: int | None, where: str) -> int:
        classes = self._metainfo.get('classes')
        if label is None:
            raise ValueError(
                f'{where} has no label and lies in no class folder of {self.root}'
                f' ({_listing(classes or [])}). Fix: write "path label" with an '
                'integer label, or with_label=False.'
            )
        if classes is not None and label >= len(classes):
            raise ValueError(
                f'{where}: label {label}, expected 0 to {len(classes) - 1} for '
                f'{len(classes)} classes.'
            )
        return label

    def _check_listed(self, items: list[dict], list_path: Path) -> None:
        if not items:
            raise ValueError(f'ImageFolder: the list {list_path} has no entries.')
        sample = [item['img_path'] for item in items[:: max(1, len(items) // 8)]]
        if not any((self.root / name).exists() for name in sample):
            raise ValueError(
                f'ImageFolder: none of the files tried from {list_path} is below '
                f'{self.root}, for example {self.root / sample[0]}; data_root holds '
                f'{_contents(self.root)}. Fix: paths in the list are relative to '
                'data_root.'
            )

    def _find_list(self, list_file: str) -> Path:
        given = Path(list_file).expanduser()
        for path in (given, self.root / given):
            if path.is_file():
                return path
        raise ValueError(
            f'ImageFolder: list_file {given} not found, neither from {Path.cwd()} nor '
            f'in data_root {self.root}, which holds {_contents(self.root)}.'
        )

    def _check_root(self) -> None:
        if self.root.is_dir():
            return
        what = 'is a file' if self.root.exists() else 'does not exist'
        above = next(p for p in self.root.absolute().parents if p.is_dir())
        raise ValueError(
            f'ImageFolder expects a folder as data_root, but {self.root} {what} '
            f'(working directory {Path.cwd()}). The nearest existing folder {above} '
            f'holds {_contents(above)}.'
        )

    def _nothing_found(self, folder: Path) -> ValueError:
        return ValueError(
            f'ImageFolder found no image in {folder}: looked there and in all folders '
            f'below for {_listing(self.extensions)}, found {_contents(folder)}. Fix: '
            'set data_root to the folder of the images, or extensions to theirs.'
        )

    def _images_below(self, folder: Path) -> Iterator[str]:
        """Relative paths, sorted folder by folder; hidden entries are left out.

        Links to folders are followed, but for those to a folder that is read anyway:
        its images would be there twice, in training and held out.
        """
        top, linked = folder.resolve(), set[Path]()
        for here, folders, files in os.walk(folder, followlinks=True):
            shown = sorted(name for name in folders if name[0] != '.')
            folders[:] = [n for n in shown if not _again(Path(here, n), top, linked)]
            base = os.path.relpath(here, self.root)
            prefix = '' if base == '.' else Path(base).as_posix() + '/'
            for name in sorted(files):
                if name[0] != '.' and name.lower().endswith(self.extensions):
                    yield prefix + name


def _again(path: Path, top: Path, linked: set[Path]) -> bool:
    """Whether a folder is a link to one above or below ``top``, or in ``linked``.

    A link to another one is added to these.
    """
    if not path.is_symlink():
        return False
    real = path.resolve()
    below = real.relative_to(top).parts if real.is_relative_to(top) else ('.',)
    inside = not any(part[0] == '.' for part in below)  # hidden ones are not read
    if inside or top.is_relative_to(real) or any(map(real.is_relative_to, linked)):
        print_log(f'{path}: not followed, as {real} is read anyway', 'current')
        return True
    linked.add(real)
    return False


def class_folders(root: Path) -> list[str]:
    """Names of the folders in one, sorted, hidden ones left out."""
    return sorted(p.name for p in root.iterdir() if p.name[0] != '.' and p.is_dir())


def _contents(folder: Path) -> str:
    """Say in words what a folder holds itself."""
    files = Counter(p.suffix or 'no extension' for p in folder.iterdir() if p.is_file())
    kinds = [f'{count} x {kind}' for kind, count in files.most_common(5)]
    folders = class_folders(folder)
    parts = [f'files {_listing(kinds)}'] if kinds else []
    parts += [f'{len(folders)} folders ({_listing(folders)})'] if folders else []
    return ' and '.join(parts) or 'nothing'


def _listing(names: Sequence[str], limit: int = 12) -> str:
    return ', '.join(names[:limit]) + (', ...' if len(names) > limit else '')
