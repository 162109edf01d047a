"""Options that READMEs and configs name, as the tools read them."""

import re
from pathlib import Path

import pytest
from config_files import CONFIGS
from tiny import ALL, LEAVES, with_options

ROOT = CONFIGS.parent
PAGES = sorted(p for p in CONFIGS.glob('*/README.md')) + [
    ROOT / name
    for name in (
        *('README.md', 'CONTRIBUTING.md', 'benchmarks/README.md'),
        *('docs/downstream.md', 'docs/scale.md'),
    )
]
BASES = sorted((CONFIGS / '_base_').rglob('*.py'))
# KEY=VALUE with a dotted key stands nowhere else; others only behind --cfg-options.
DOTTED = re.compile(r'(?<![\w.+])\+?[a-z]\w*(?:\.\w+)+=[^\s`,;)]+')
BEHIND = re.compile(r'--cfg-options((?: +\+?[a-z][\w.]*=[^\s`,;)]+)+)')
IN_COMMAND = re.compile(r'configs/([\w/.-]+\.py)')


def commands(path: Path) -> list[tuple[str | None, list[str]]]:
    """Each line's config, if it names one, and options."""
    text = path.read_text()
    if path.suffix == '.py':
        text = '\n'.join(re.findall(r'^# ?(.*)$', text, re.M))
    found = []
    for line in re.sub(r'\\\n\s*', ' ', text).splitlines():
        options = BEHIND.findall(line)
        words = ' '.join(options).split() or DOTTED.findall(line)
        if words:
            named = IN_COMMAND.search(line)
            found.append((named and named[1], [word.rstrip('.') for word in words]))
    return found


def named_by(page: Path) -> list[Path]:
    """The configs that a page links or has commands for."""
    links = re.findall(r'\]\(([^)]+\.py)\)', page.read_text())
    paths = {(page.parent / link).resolve() for link in links}
    paths |= {CONFIGS / name for name in IN_COMMAND.findall(page.read_text())}
    return sorted(paths & set(LEAVES))


def built_on(base: Path) -> list[Path]:
    """The leaves that name a base, or one that is built on it."""
    found = []
    for path in BASES + LEAVES:
        names = re.findall(r"'([\w/.-]+\.py)'", path.read_text())
        if base in [(path.parent / name).resolve() for name in names]:
            found += [path] if path in LEAVES else built_on(path)
    return found


def accepted(config: Path, words: list[str]) -> bool:
    try:
        with_options(config, words)
    except SystemExit:
        return False
    return True


def test_options_are_found() -> None:
    words = [
        word for path in PAGES + BASES + LEAVES for _, w in commands(path) for word in w
    ]
    assert len(words) > 100
    assert 'data_root=/path/to/cifar10' in words
    assert 'optim_wrapper.paramwise_cfg.head_with_last_block=True' in words
    assert any(word.startswith('+model.') for word in words)


@pytest.mark.parametrize('path', LEAVES, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_of_a_config(path: Path) -> None:
    for name, words in commands(path):
        with_options(CONFIGS / name if name else path, words)


@pytest.mark.parametrize('path', BASES, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_of_a_base(path: Path) -> None:
    if LEAVES == ALL and not built_on(path):
        pytest.skip('its configs need mmdet or mmseg')
    for _, words in commands(path):
        assert built_on(path)
        for leaf in built_on(path):
            with_options(leaf, words)


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_of_a_page(page: Path) -> None:
    """Options without a config beside them are of one that the page names."""
    for name, words in commands(page):
        configs = [CONFIGS / name] if name else named_by(page)
        here = [config for config in configs if config in LEAVES or config in BASES]
        if not any(accepted(config, words) for config in here):
            assert LEAVES == ALL, words  # it may be of one that needs mmdet or mmseg
