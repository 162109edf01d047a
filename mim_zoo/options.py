"""``--cfg-options``: reading them, and finding those that change nothing."""

import argparse
import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import mmengine.registry
from mmengine.config import Config, DictAction
from mmengine.registry import DefaultScope, Registry
from mmengine.runner import Runner

from . import registry
from .errors import fail
from .registry import SCOPE


class Options(DictAction):
    """KEY=VALUE pairs, added to those of the command line before them.

    A value is a number, True, False, None, a word, or a list of them ([a,b] or a,b; a
    tuple in parentheses). As MMEngine reads them, but spaces in a word stay, and a word
    in quotes stays as it is, commas too.
    """

    def __call__(self, parser: Any, namespace: Any, values: Any, *rest: Any) -> None:
        for pair in values:
            if '=' not in pair:
                parser.error(f'--cfg-options: expected KEY=VALUE, got "{pair}"')
            try:
                super().__call__(parser, namespace, [pair], *rest)
            except ValueError:
                parser.error(
                    f'--cfg-options: cannot read {pair}; a value is a number, a word '
                    'or a list of them ([a,b]): write dicts in a config file of your '
                    'own, with _base_ = [CONFIG], and a word with commas or brackets '
                    """in quotes (KEY='"a,b"')"""
                )

    @staticmethod
    def _parse_iterable(val: str) -> Any:  # MMEngine calls it for every value
        return _value(val.strip())


def quoted(word: str) -> str:
    """A word as a value that is read as this word, whatever is in it."""
    return f"'{word}'" if '"' in word else f'"{word}"'


def _value(text: str) -> Any:
    """What is written there; ValueError if it cannot be read."""
    if text[:1] in ('"', "'") and text.find(text[0], 1) == len(text) - 1:
        return text[1:-1]
    if text.startswith('{'):
        raise ValueError(text)
    items = _items(text) if ',' in text else []
    if len(items) > 1:
        return [_value(item) for item in items if item]
    if (text[:1], text[-1:]) in (('[', ']'), ('(', ')')):
        inner = [_value(item) for item in _items(text[1:-1]) if item]
        return tuple(inner) if text[0] == '(' else inner
    if items:  # dict(a=1,b=2)
        raise ValueError(text)
    return DictAction._parse_int_float_bool(text)


def _items(text: str) -> list[str]:
    """The parts between commas that are in no brackets and no quotes."""
    items, depth, quote = [''], 0, ''
    for char in text:
        if quote:
            quote = '' if char == quote else quote
        elif char in '"\'' and not items[-1].strip():
            quote = char
        else:
            depth += (char in '[(') - (char in '])')
        if depth < 0:
            raise ValueError(text)
        if char == ',' and not depth and not quote:
            items.append('')
        else:
            items[-1] += char
    if depth or quote:
        raise ValueError(text)
    return [item.strip() for item in items]


def parse_options(words: Sequence[str]) -> dict[str, Any]:
    """{key: value} of words as they come after ``--cfg-options``."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='*', action=Options, default={})
    return parser.parse_args(['--cfg-options', *words]).cfg_options


def checked_options(cfg: Config, options: Mapping[str, Any]) -> dict[str, Any]:
    """The ``--cfg-options`` without their "+"; an unknown key ends the command.

    Known is what the config has, and any argument of the class that a ``type`` names.
    """
    checked = {}
    with _scope(cfg):
        for key, value in options.items():
            name = key.removeprefix('+')
            if name == key and (problem := _problem(cfg, key)):
                fail(f'--cfg-options: {problem}')
            checked[name] = value
    return checked


def _scope(cfg: Config) -> Any:
    return DefaultScope.overwrite_default_scope(cfg.get('default_scope', SCOPE))


def _problem(cfg: Config, key: str) -> str | None:
    """What is wrong with an option's key, None if it is known."""
    node: Any = cfg._cfg_dict
    parts = key.split('.')
    for depth, part in enumerate(parts):
        here = '.'.join(parts[:depth])
        if isinstance(node, list | tuple):
            if not part.isdigit() or int(part) >= len(node):
                return f'"{key}": "{here}" is a list of {len(node)}, got "{part}".'
            node = node[int(part)]
        elif isinstance(node, dict):
            if part not in node:
                arguments = _arguments(node, at_top=depth == 0)
                if arguments is None or part in {*arguments, '_delete_'}:
                    return None  # what is below is the new argument's own affair
                prefix = f'{here}.' if here else ''
                names = [
                    *keys_of(cfg._cfg_dict),
                    *(prefix + name for name in arguments),
                ]
                return (
                    f'the config has no "{key}"{nearest(key, names)} '
                    f'To add it all the same, write +{key}=VALUE.'
                )
            node = node[part]
        else:
            return f'"{key}": "{here}" is {node!r}, with nothing below it.'
    return None


def _arguments(node: dict[str, Any], at_top: bool) -> Iterable[str] | None:
    """What may be added to this dict; None if that cannot be known."""
    if at_top:
        return inspect.signature(Runner.__init__).parameters
    if 'type' not in node:
        return ()
    built = node['type']
    found = _lookup(built) if isinstance(built, str) else built
    if found is None:
        return None
    names: set[str] = set()
    for owner in inspect.getmro(found) if inspect.isclass(found) else [found]:
        parameters = inspect.signature(owner).parameters
        names |= parameters.keys()
        if all(p.kind is not p.VAR_KEYWORD for p in parameters.values()):
            break  # without **kwargs nothing reaches the parents
    return names


def _lookup(name: str) -> Any:
    """The class or function that any registry knows under ``name``."""
    for module in (registry, mmengine.registry):
        for candidate in vars(module).values():
            if isinstance(candidate, Registry) and (found := candidate.get(name)):
                return found
    return None


def keys_of(node: Any, prefix: str = '') -> Iterator[str]:
    """Every dotted key of nested dicts and lists."""
    pairs = enumerate(node) if isinstance(node, list | tuple) else node.items()
    for key, value in pairs:
        yield f'{prefix}{key}'
        if isinstance(value, dict | list | tuple):
            yield from keys_of(value, f'{prefix}{key}.')


def nearest(name: str, known: Sequence[str]) -> str:
    """What of ``known`` may have been meant, as the rest of a sentence."""
    found = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f'; did you mean {" or ".join(found)}?' if found else '.' if known else ''


def value_at(node: Any, key: str) -> Any:
    """The value of a dotted key."""
    for part in key.split('.'):
        node = node[int(part)] if isinstance(node, list | tuple) else node[part]
    return node
