"""What the READMEs say exists and runs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md']
PAGES += sorted(ROOT.glob('configs/*/README.md'))


@pytest.mark.parametrize('page', PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_configs_exist(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r'\]\(([^)#]+)\)', text)
    for link in links:
        if not link.startswith('http'):
            assert (page.parent / link).exists(), link
    for config in re.findall(r'configs/[\w/.-]+\.py', text):
        assert (ROOT / config).is_file(), config
    for tool in re.findall(r'tools/\w+\.(?:py|sh)', text):
        assert (ROOT / tool).is_file(), tool


def test_snippet_of_the_readme_runs() -> None:
    text = (ROOT / 'README.md').read_text()
    snippets = re.findall(r'```python\n(.*?)```', text, re.S)
    assert snippets
    for snippet in snippets:
        names: dict = {}
        exec(snippet, names)
        assert names['maps'][0].shape == (2, 384, 16, 12)
        assert names['features'].shape == (2, 384)
        sizes = [tuple(level.shape[2:]) for level in names['levels']]
        assert sizes == [(50, 38), (25, 19), (13, 10), (7, 5)]
