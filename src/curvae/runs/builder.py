"""A model of one's own: the function that makes it, found by the name that a caller gives, and what it is given."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import sysconfig
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from curvae._checks import shown
from curvae.autoencoder import Autoencoder
from curvae.errors import InputError

Builder = Callable[..., Autoencoder]
"""``build(shape, **settings) -> Autoencoder``: ``shape`` is that of one sample."""

FROM_OPTIONS = ("latents", "structure", "likelihood")
"""Parameters of a builder that are options of a run, and no settings of its own."""

_FORM = "FILE.py:FUNCTION or package.module:function"
_HERE = str(Path(__file__).parent.parent)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def find_builder(name: str) -> Builder:
    """The function that a name leads to. This runs the file or module: call it with names that a person typed.

    Args:
        name: ``FILE.py:FUNCTION``, or ``package.module:function`` of a package that Python finds, from the working
            directory too. What lies beside the file can be imported by it.

    Raises:
        InputError: the name is of another form, there is nothing of that name, or reading it fails; the line names
            file, line and error.

    Example:
        >>> find_builder("curvae.autoencoder:Autoencoder") is Autoencoder
        True
        >>> find_builder("net.py")
        Traceback (most recent call last):
        curvae.errors.InputError: model is 'net.py'; expected FILE.py:FUNCTION or package.module:function
    """
    place, _, function = name.rpartition(":")
    if not place or not function.isidentifier():
        raise InputError(f"model is {shown(name)}; expected {_FORM}")
    with own_code(place):
        module = _read(Path(place).expanduser()) if place.endswith(".py") else _imported(place)
    found = getattr(module, function, None)
    if found is None:
        there = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise InputError(f"{place} has no {function}{_nearest(function, there)}; expected {_FORM}")
    if not callable(found):
        raise InputError(f"{function} in {place} is {shown(found)}; expected a function that returns a model")
    return found


def absolute_name(name: str) -> str:
    """The name of a builder that still leads to it from another working directory, where it is one of a file.

    Example:
        >>> absolute_name("package.module:build")
        'package.module:build'
    """
    place, colon, function = name.rpartition(":")
    return f"{Path(place).expanduser().absolute()}{colon}{function}" if place.endswith(".py") else name


def source_digest(build: Builder) -> str | None:
    """The SHA-256 of the file that a builder stands in; None if it stands in none that can be read.

    Example:
        >>> len(source_digest(Autoencoder))
        64
    """
    try:
        return hashlib.sha256(Path(inspect.getsourcefile(build) or "").read_bytes()).hexdigest()
    except (OSError, TypeError):
        return None


@contextmanager
def own_code(source: str) -> Iterator[None]:
    """Turn an error that a person's own code raises into one line that names file, line and error.

    Args:
        source: file or module of the code, for errors that tell no line of it.

    Raises:
        InputError: the code raised something. What curvae raises where no such code is under way stays what it is.

    Example:
        >>> with own_code("net.py"):
        ...     raise SystemExit(3)
        Traceback (most recent call last):
        curvae.errors.InputError: net.py ended the program (SystemExit: 3); put what is to run alone under if ...
    """
    try:
        yield
    except SystemExit as error:
        raise InputError(
            f"{source} ended the program (SystemExit: {error}); put what is to run alone under if __name__ == "
            '"__main__"'
        ) from error
    except SyntaxError as error:
        raise InputError(f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}") from error
    except Exception as error:
        place = _place(error, source)
        if place is None or (isinstance(error, InputError) and error.__cause__ is not None):
            raise
        said = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{place}: {said}") from error


def takes(build: Builder, name: str) -> bool:
    """Whether a builder has a parameter of this name.

    Example:
        >>> takes(lambda shape, latents: None, "latents"), takes(lambda shape, **settings: None, "latents")
        (True, False)
    """
    return name in _parameters(build)


def settings_of(build: Builder, given: Mapping[str, str]) -> dict[str, Any]:
    """Settings as the builder's annotations read them.

    ``int``, ``float``, ``bool``, ``str``, ``Path``, ``Literal[…]``, any of them ``| None`` (written ``none``), and
    lists and tuples of them (``64,128``). A parameter without an annotation has the type of its default, else text;
    ``**`` takes any name.

    Args:
        build: the function.
        given: texts by name.

    Raises:
        InputError: a name that the function does not take, one that it needs and that is missing, or a text that its
            type does not read.

    Example:
        >>> def build(shape, depth: int = 2, rate: float | None = None, hidden=(8, 8)): ...
        >>> settings_of(build, {"depth": "3", "rate": "1e-3", "hidden": "16,32"})
        {'depth': 3, 'rate': 0.001, 'hidden': (16, 32)}
        >>> settings_of(build, {"dept": "3"})
        Traceback (most recent call last):
        curvae.errors.InputError: build takes no setting dept; did you mean depth? ...
    """
    known = _parameters(build)
    called = name_of(build)
    rest = next((one for one in known.values() if one.kind is one.VAR_KEYWORD), None)
    own = [name for name, one in known.items() if one is not rest and name not in FROM_OPTIONS]
    found = {}
    for name, text in given.items():
        if name in FROM_OPTIONS:
            raise InputError(f"{name} is not a setting of {called} but an option of the run; use --{name} {text}")
        if name not in own and rest is None:
            all_of = f"it takes {', '.join(own)}" if own else "it takes none"
            raise InputError(f"{called} takes no setting {name}{_nearest(name, own)}; {all_of}")
        parameter = known[name] if name in own else rest
        assert parameter is not None
        found[name] = _value(name, text, _kind(parameter))
    needed = [name for name in own if known[name].default is inspect.Parameter.empty and name not in given]
    if needed:
        raise InputError(f"{called} needs {', '.join(needed)}; give --set {needed[0]}=VALUE")
    return found


def has_default(build: Builder, name: str) -> bool:
    """Whether a builder that is not given this parameter has a value for it."""
    return _parameters(build)[name].default is not inspect.Parameter.empty


def takes_shape(build: Builder) -> bool:
    """Whether a builder has a parameter for the shape of a sample: the first, without a name.

    Example:
        >>> takes_shape(lambda shape: None), takes_shape(lambda: None), takes_shape(lambda *, depth=2: None)
        (True, False, False)
    """
    return any(one.kind in _POSITIONAL for one in list(_signature(build).values())[:1])


def name_of(build: Builder) -> str:
    """What a builder is called in a message."""
    return getattr(build, "__qualname__", type(build).__name__)


def _parameters(build: Builder) -> dict[str, inspect.Parameter]:
    """What a builder can be given by name: all but the shape."""
    found = list(_signature(build).values())[takes_shape(build) :]
    return {one.name: one for one in found if one.kind is not inspect.Parameter.VAR_POSITIONAL}


def _signature(build: Builder) -> Mapping[str, inspect.Parameter]:
    try:
        try:
            return inspect.signature(build, eval_str=True).parameters
        except NameError:  # an annotation that only a type checker can read
            return inspect.signature(build).parameters
    except (TypeError, ValueError):  # of C, say
        raise InputError(f"{shown(build)} does not tell its parameters; expected a Python function") from None


def _kind(parameter: inspect.Parameter) -> Any:
    empty = inspect.Parameter.empty
    if parameter.annotation not in (empty, Any):
        return parameter.annotation
    default = parameter.default
    if default in (empty, None):
        return str
    if isinstance(default, list | tuple) and default:
        return list[type(default[0])] if isinstance(default, list) else tuple[type(default[0]), ...]  # type: ignore[misc]
    return type(default)


def _value(name: str, text: str, kind: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if type(None) in inner and text.lower() in ("none", "null"):
            return None
        kinds = [one for one in inner if one is not type(None)]
        for one in kinds[:-1]:
            try:
                return _value(name, text, one)
            except InputError:
                continue
        return _value(name, text, kinds[-1])
    if origin is Literal:
        found = next((one for one in inner if str(one) == text), None)
        if found is None:
            raise InputError(f"{name} is {shown(text)}; expected one of {', '.join(map(str, inner))}")
        return found
    if origin in (list, tuple, Sequence):
        parts = [part.strip() for part in text.strip("[]()").split(",") if part.strip()]
        values = [_value(name, part, inner[0] if inner else str) for part in parts]
        return values if origin is list else tuple(values)
    return _plain(name, text, kind)


def _plain(name: str, text: str, kind: Any) -> Any:
    if kind is bool:
        if text.lower() not in _WORDS:
            raise InputError(f"{name} is {shown(text)}; expected true or false")
        return _WORDS[text.lower()]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise InputError(f"{name} is {shown(text)}; expected {what}") from None
    if kind in (str, Path):
        return kind(text)
    raise InputError(
        f"{name} has the type {getattr(kind, '__name__', kind)}, which is not read from text; a setting is int, float, "
        "bool, str, Path, Literal, one of these or None, or a list or tuple of them"
    )


def _read(path: Path) -> types.ModuleType:
    path = path.absolute()
    if not path.is_file():
        raise InputError(f"{path} {'is not a file' if path.exists() else 'does not exist'}; model is {_FORM}")
    # a name of its own: the file may be called like a module that is there
    name = f"_curvae_model_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    _find_beside(path.parent)
    sys.modules[name] = module  # dataclasses, for one, look there for the module of a class
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _imported(name: str) -> types.ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise InputError(f"model names {shown(name)}, which is not a module; expected {_FORM}")
    _find_beside(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise InputError(f"there is no module {name} (no {error.name}); model is {_FORM}") from None


def _find_beside(folder: Path) -> None:
    # at the end: a neighbour that is called like a module of Python's does not take its place
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _place(error: Exception, source: str) -> str | None:
    """File and line of the person's own code in which an error came up; None if none of it was under way."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_file()]
    frames = [frame for frame in frames if not frame.filename.startswith(_HERE)]
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    if not own:  # an installed package: told by its name
        own = [frame for frame in frames if f"/{source.replace('.', '/').partition('/')[0]}" in frame.filename]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else None


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {near[0]}?" if near else ""
