"""A model of one's own: the function that makes it, found by the name that a caller gives."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
import sysconfig
import traceback
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from curvae._checks import nearest, shown
from curvae.autoencoder import Autoencoder
from curvae.errors import InputError

Builder = Callable[..., Autoencoder]
"""``build(shape, **settings) -> Autoencoder``: ``shape`` is that of one sample."""

_FORM = "FILE.py:FUNCTION or package.module:function"
_HERE = str(Path(__file__).parent.parent)
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


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
    with own_code(place), redirect_stdout(sys.stderr):  # standard output is the command's answer
        module = _read(Path(place).expanduser()) if place.endswith(".py") else _imported(place)
    found = getattr(module, function, None)
    if found is None:
        there = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise InputError(f"{place} has no {function}{nearest(function, there)}; expected {_FORM}")
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


def name_of(build: Builder) -> str:
    """What a builder is called in a message."""
    return getattr(build, "__qualname__", type(build).__name__)


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
    package = source.partition(".")[0]
    if not own and package.isidentifier():  # an installed one: told by its name
        own = [frame for frame in frames if f"/{package}/" in frame.filename or f"/{package}." in frame.filename]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else None
