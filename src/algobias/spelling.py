"""Objects with a name and options as they are spelled on the command line: ``name:value,key=value``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BeforeValidator, ValidationError

from algobias.errors import BadInput, unknown_name
from algobias.frozen import Frozen, bad_input_from
from algobias.option_types import unusable
from algobias.own.returns import Returns, hold_to, is_own, of_type
from algobias.own.user_code import raised_in


def number(value: float) -> str:
    """The shortest text that reads back as exactly this number, without a plus sign (``1e16``, ``40``)."""
    return repr(float(value)).removesuffix(".0").replace("e+", "e")


def _whole(value: object) -> object:
    """Let ``2e4`` and ``40.0`` be whole numbers; everything else is left to the field's own check."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number, also spelled ``2e4``."""


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Spelled(Frozen):
    """An object with a name and options; its fields are the options.

    Class attributes:
        name: Its name on the command line.
        promised: What its methods must return; those of a user's class are looked at.
        option_types: Types that its options may have besides numbers, texts and choices.
        reserved: Names that options of a user's class cannot have, and what they mean.
        positional: The field that the value right after the colon sets, or None.
        revision: Raised by hand when the results it leads to change; a hash of its file where it has one.
        source: The file of the user's own it was loaded from, ``/path/to/file.py:Name``, or None.
    """

    name: ClassVar[str]
    promised: ClassVar[Mapping[str, Returns]] = {
        "examples": Returns("a tuple of texts", lambda value, owner: _texts(value)),
        "spelling": of_type("a text", str),
    }
    option_types: ClassVar[tuple[type, ...]] = ()
    reserved: ClassVar[Mapping[str, str]] = {}
    positional: ClassVar[str | None] = None
    revision: ClassVar[int] = 1
    source: ClassVar[str | None] = None

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Refuse a class that has a name and lacks what its kind needs, when it is made.

        Raises:
            TypeError: With everything that it lacks; or what of it cannot be used.
        """
        super().__pydantic_init_subclass__(**options)
        if "name" in cls.__dict__:
            lacking = cls.lacking()
            if lacking:
                raise TypeError(f"class {cls.__name__} lacks {', '.join(lacking)}")
            wrong = _unusable(cls)
            if wrong:
                raise TypeError(f"class {cls.__name__}: {'; '.join(wrong)}")
        hold_to(cls, cls.promised)

    @classmethod
    def lacking(cls) -> tuple[str, ...]:
        """What a class of this kind must have and this one does not."""
        return ()

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Spellings to show where an option is missing."""
        return (cls.name,)

    def spelling(self) -> str:
        """The object as one writes it on the command line; defaults are left out.

        Reading it back gives an equal object.
        """
        return self.spelled_as(self.source or self.name)

    def label(self) -> str:
        """The object by its name, also where it is spelled by its file; for those who only read it."""
        return self.spelled_as(self.name)

    def kept_as(self) -> str:
        """What is kept of the object goes by this and its revision, wherever its file lies."""
        if self.source is None:
            return self.spelling()
        return self.spelled_as(f".py:{self.source.rpartition(':')[2]}")

    def spelled_as(self, name: str) -> str:
        """The object with its options behind a name of its class."""
        shown: list[str] = []
        for key, field in type(self).model_fields.items():
            value = getattr(self, key)
            if value == field.default:
                continue
            text = number(value) if isinstance(value, float) else str(value)
            if key == self.positional:
                shown.insert(0, text)
            elif isinstance(value, bool):
                shown.append(key if value else f"{key}=false")
            else:
                shown.append(f"{key}={text}")
        return name + (":" + ",".join(shown) if shown else "")


S = TypeVar("S", bound=Spelled)


def _texts(value: object) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(text, str) for text in value)


def _unusable(cls: type[Spelled]) -> list[str]:
    """What keeps a class from being named and read on a command line."""
    wrong = []
    if not (isinstance(cls.name, str) and _NAME.fullmatch(cls.name)):
        wrong.append(f"name is {cls.name!r}; allowed: letters, digits, _ and -, a letter first")
    if cls.positional is not None and cls.positional not in cls.model_fields:
        options = ", ".join(cls.model_fields) or "none"
        wrong.append(f"positional is {cls.positional!r}; allowed: None, or one of its options: {options}")
    if isinstance(cls.revision, bool) or not isinstance(cls.revision, int):
        wrong.append(f"revision is {cls.revision!r}; allowed: a whole number")
    wrong += _taken(cls)
    types = cls.option_types
    wrong += filter(None, (unusable(name, field, types) for name, field in cls.model_fields.items()))
    return wrong


def _taken(cls: type[Spelled]) -> list[str]:
    """Say which options have the name of something else that every class of this kind has."""
    taken = []
    for name in cls.model_fields:
        meaning = None if is_own(cls) else cls.reserved.get(name)
        above = [base for base in cls.__mro__[1:] if name in vars(base) and name not in _options_of(base)]
        if meaning is not None:
            taken.append(f"an option cannot be called {name}: {meaning}")
        elif above:
            taken.append(f"an option cannot be called {name}: every {above[-1].__name__} has that already")
    return taken


def _options_of(cls: type) -> Mapping[str, object]:
    options: Mapping[str, object] = getattr(cls, "model_fields", {})
    return options


def parse_options(cls: type[S], text: str) -> S:
    """Build an object from what follows its name on the command line.

    Args:
        cls: The class.
        text: ``x16,lr=sqrt``: one positional value, ``key=value`` pairs, bare switches.

    Raises:
        BadInput: Malformed text, an unknown key, a value out of range.
    """
    options: dict[str, Any] = {}
    for position, item in enumerate(text.split(",") if text else []):
        key, equals, value = item.partition("=")
        if len(key.split()) > 1 or (not equals and len(item.split()) > 1):
            raise BadInput(cls.name, item, f"a comma between options: {','.join(item.split())}")
        if equals:
            key = key.strip()
        elif position == 0 and cls.positional is not None:
            key, value = cls.positional, item
        elif item.strip() in cls.model_fields:
            key, value = item.strip(), "true"
        else:
            keys = ", ".join(cls.model_fields) or "none"
            near = difflib.get_close_matches(item.strip(), cls.model_fields, 1, 0.5)
            raise BadInput(cls.name, item, f"key=value with a key of: {keys}", near[0] if near else None)
        if key in options:
            raise BadInput(_path(cls, key), value, "each option once")
        options[key] = value.strip()
    return validate_options(cls, options)


def validate_options(cls: type[S], options: dict[str, Any]) -> S:
    """Validate options into an object, with errors in the words of the command line.

    Raises:
        BadInput: An unknown option, a missing one, a value out of range.
    """
    unknown = [key for key in options if key not in cls.model_fields]
    if unknown:
        raise unknown_name(f"{cls.name} option", unknown[0], cls.model_fields)
    needed = [key for key, field in cls.model_fields.items() if field.is_required() and key not in options]
    if needed:
        raise BadInput(_path(cls, needed[0]), None, f"a value, as in {' or '.join(cls.examples())}")
    try:
        with raised_in(f"{cls.name} options"):  # a validator of the user's may raise anything
            return cls.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        value = options.get(key, first["input"])
        if first["type"] == "literal_error":
            raise unknown_name(_path(cls, key), str(value), re.findall(r"'([^']+)'", first["msg"])) from error
        problem = bad_input_from(error, cls, cls.name)
        raise BadInput(_path(cls, key), value, problem.allowed.partition(",")[0], problem.nearest) from error


def _path(cls: type[Spelled], key: str) -> str:
    """A field in the user's words: the positional one goes by the object's own name."""
    return cls.name if key in ("", cls.positional) else f"{cls.name}.{key}"
