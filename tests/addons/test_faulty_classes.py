"""A lever or a lab of the user's own that is wrong: one message with class, method, file, what was due."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest

from algobias.errors import BadInput
from algobias.levers.base import Card, Lever, Part
from algobias.levers.registry import parse
from algobias.probes.base import Card as ProbeCard
from algobias.recipe import Recipe, recipe_from
from algobias.spelling import Spelled, parse_options

HERE = Path(__file__).parent
TASK = f"{HERE.parent / 'product_task.py'}:task"
PLAN = ("audit", TASK, "--looks", 2, "--tolerance", 1, "--probes", "none", "--workers", 1, "--plan")

UPDATE = "            return transform.update(grads * (self.factor * WHOLE), memory, state)"
HOOKS = """
    def {hook}(self, {given}):
        {body}

    def update(self, transform: Transform"""
CHANGED = "    def update(self, transform: Transform"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            "return recipe.edit(optimizer__lr",
            "recipe.edit(optimizer__lr",
            "Halved.apply: 'None' is not possible; allowed: a Recipe",
        ),
        (
            "return transform._replace(update=update)",
            "transform._replace(update=update)",
            "Shrink.update: 'None' is not possible; allowed: a Transform",
        ),
        (
            "return transform._replace(update=update)",
            "return update",
            "Shrink.update: 'function' is not possible; allowed: a Transform",
        ),
        (
            UPDATE,
            UPDATE.replace("return ", ""),
            "Shrink.update, update: 'None' is not possible; allowed: the next State",
        ),
        (UPDATE, "            return grads, memory", "Shrink.update, update: '(Tensor, "),
        (
            UPDATE,
            "            raise OSError('mine')",
            "Shrink.update, update: 'mine.py:{line}: OSError: mine'",
        ),
        (
            UPDATE,
            UPDATE.replace("grads *", "grads.mean(dim=-1, keepdim=True) *"),
            "Shrink.update: 'a gradient of the shape [1, 1]' is not possible; allowed: a gradient as long as",
        ),
        (
            CHANGED,
            HOOKS.format(hook="sampler", given="sampler, context", body="pass") + "",
            "Shrink.sampler: 'None'",
        ),
        (
            CHANGED,
            HOOKS.format(
                hook="sampler",
                given="sampler, context",
                body="return lambda update, seeds: sampler(update, seeds)[0]",
            ),
            "Shrink.sampler, sampler: ",
        ),
        (
            CHANGED,
            HOOKS.format(
                hook="gradient", given="grad, context", body="return lambda state, batch, key: None"
            ),
            "Shrink.gradient, gradient: 'None'",
        ),
        (
            CHANGED,
            HOOKS.format(hook="model", given="net", body="return None"),
            "Shrink.model: 'None' is not possible; allowed: an nn.Module",
        ),
        (
            CHANGED,
            "    stage = property(lambda self: 'first')\n" + CHANGED,
            "Shrink.stage: 'first' is not possible; allowed: one of examples",
        ),
    ],
)
def test_what_a_method_returns_or_raises(edited, refused, before: str, after: str, says: str) -> None:
    line = edited((before, after))
    lever = "Halved:really" if says.startswith("Halved") else "Shrink:0.5"
    message = refused(*PLAN, "--change", f"mine.py:{lever}")
    assert says.format(line=line) in message
    assert "mine.py" in message


RECIPE = {"task": "digits", "examples": 800, "optimizer": {"lr": 0.1}, "batch": 16, "budget": {"epochs": 1}}


@pytest.mark.parametrize(
    ("before", "after", "call", "says"),
    [
        ("return cls(really=False)", "cls(really=False)", "Halved.neutral", "'None' .* allowed: a Lever"),
        ("return cls(factor=1.0)", "return 1.0", "Shrink.neutral", "'1.0' .*: a setting of this class"),
        ("", "def part_of(self, fraction, recipe): pass", "Shrink.part_of", "'None' .* allowed: a Lever"),
        ("", "def idle(self, recipe): pass", "Shrink.idle", "'None' .* allowed: True or False"),
        ("", "def derivation(self, recipe): return 5", "Shrink.derivation", "'5' .*: a text or None"),
        (
            "",
            "def gradients_per_example(self): return 'two'",
            "Shrink.gradients_per_example",
            "'two' .* above 0",
        ),
    ],
)
def test_what_further_methods_return(edited, before: str, after: str, call: str, says: str) -> None:
    edited((before or CHANGED, after if before else f"    {after}\n\n{CHANGED}"))
    name, _, method = call.partition(".")
    lever = parse(f"mine.py:{name}")
    given = {"part_of": (0.5, recipe_from(RECIPE)), "gradients_per_example": ()}
    with pytest.raises(BadInput, match=rf"^mine\.py: {call}: {says}"):
        getattr(lever, method)(*given.get(method, (recipe_from(RECIPE),)))


def test_sound_hooks_do_the_same_as_before(folder: Path, program) -> None:
    """Looking at what hooks return changes nothing."""
    planned = program(*PLAN, "--change", "mine.py:Shrink:0.5", "--json")
    assert planned.code == 0, planned.err
    assert json.loads(planned.out)["arms"][1]["name"] == "variant"


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            "        return LabResult(",
            "        LabResult(",
            "Descent.run: 'None' is not possible; allowed: a LabResult",
        ),
        (
            "seconds=time.perf_counter() - started",
            "seconds='soon'",
            "Descent.run: seconds: 'soon' is not possible",
        ),
        ("checks=(worst", "checks=None and (worst", "Descent.run: checks: 'None' is not possible"),
        ("rows=tuple(rows)", "rows=({'update': {1}},)", "Descent.run: rows.0.update"),
        ("options=self.model_dump()", "options={'rate': object()}", "Descent.run: options.rate"),
        (
            '    title: ClassVar[str] = "Gradient descent on a parabola"',
            "    title = 5",
            "class Descent lacks title (one line)",
        ),
        ("        started, weight", "        raise SystemExit(3)\n        started, weight", "SystemExit: 3"),
    ],
)
def test_what_a_lab_returns(edited, refused, before: str, after: str, says: str) -> None:
    edited((before, after))
    message = refused("lab", "mine.py:Descent")
    assert says in message
    assert "mine.py" in message


OPTION = "    factor: float = Field(default=1.0, gt=0)"


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (
            "factor: tuple[float, ...] = (1.0,)",
            "option factor is of type tuple[float, ...]; allowed: bool, int, float",
        ),
        ("factor: dict[str, float] = {}", "option factor is of type dict[str, float]"),
        ("factor: list = []", "option factor is of type list"),
        ("factor: 'typing.Callable[[float], float]' = abs", "option factor is of type Callable"),
        ("factor: Size = Size.small", "option factor is of type Size"),
        ("factor: typing.Literal[1, 2] = 1", "option factor is Literal[1, 2]"),
        ("factor: float | tuple[float, float] = 1.0", "option factor is of type tuple[float, float]"),
        (
            "factor: float = Field(default_factory=float)",
            "option factor has a default_factory; allowed: a plain default",
        ),
        ("factor: float = Field(default=1.0, alias='f')", "option factor has an alias"),
        ("factor: float = Field(default=[1.0])", "option factor has the default [1.0]"),
        (
            "factor: float = 1.0\n    positional = 'fractor'",
            "positional is 'fractor'; allowed: None, or one of its options: factor",
        ),
        ("factor: float = 1.0\n    revision = 'two'", "revision is 'two'; allowed: a whole number"),
        ("factor = 1.0", "non-annotated attribute"),
        (
            "factor: float = 1.0\n    after: int = 0",
            "an option cannot be called after: levers that are injected",
        ),
        (
            "factor: float = 1.0\n    until: int = 0",
            "an option cannot be called until: levers that are injected",
        ),
        ("factor: float = 1.0\n    share: int = 0", "an option cannot be called share: every Lever has that"),
        (
            "factor: float = 1.0\n    label: str = ''",
            "an option cannot be called label: every Spelled has that",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Field name")  # pydantic says so as well
def test_options_that_no_command_line_has(edited, refused, option: str, says: str) -> None:
    more = "import enum\nimport typing\nclass Size(enum.Enum):\n    small = 1\n"
    edited(
        ("import time\n", f"import time\n{more}"),
        ('    positional: ClassVar[str] = "factor"\n', ""),
        (OPTION, f"    {option}"),
    )
    message = refused("levers", "mine.py:Shrink")
    assert says in message
    assert message.startswith("lever file mine.py: ")
    assert "mine.py:5" in message, "the line of the class"


def test_options_that_every_command_line_has() -> None:
    """Each type that is allowed is read and written."""
    from typing import Literal

    class Everything(Spelled):
        """All of them."""

        name: ClassVar[str] = "every-thing_2"
        flag: bool = False
        count: int | None = None
        size: float = 1.0
        text: str = ""
        kind: Literal["a", "b"] | None = None

    text = "every-thing_2:flag,count=3,size=0.5,text=hello,kind=b"
    item = parse_options(Everything, text.partition(":")[2])
    assert item.spelling() == text
    assert item == Everything(flag=True, count=3, size=0.5, text="hello", kind="b")


@pytest.mark.parametrize(
    "name", ["5", "''", "'a+b'", "'a,b'", "'a:b'", "'a b'", "'a/b'", "'x.py'", "None", "['a']"]
)
def test_names_that_cannot_be_typed(edited, refused, name: str) -> None:
    edited(('    name: ClassVar[str] = "shrink"', f"    name = {name}"))
    message = refused("levers", "mine.py:Shrink")
    assert "class Shrink: name is" in message
    assert "allowed: letters, digits, _ and -, a letter first" in message


LEVER_CARD = {
    "summary": "s",
    "saves": "s",
    "costs": "c",
    "acts_on": ("weights",),
    "moves": (),
    "not_when": "n",
    "references": ("Nobody, 2026",),
    "examples": ("x:1",),
}
PROBE_CARD = {
    "summary": "s",
    "family": "norms",
    "formula": "f",
    "unit": "u",
    "invariances": "i",
    "cost": "c",
    "references": ("Nobody, 2026",),
}


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("gradients", 0, "card.gradients: 0 is not possible; allowed: a number above 0"),
        ("gradients", "two", "card.gradients"),
        ("gradients", float("nan"), "card.gradients"),
        ("gradients", True, "card.gradients"),
        ("acts_on", ("weight",), "card.acts_on: 'weight' is not possible (did you mean 'weights'?)"),
        ("acts_on", "weights", r"card.acts_on: 'weights' is not possible; allowed: a tuple of texts"),
        ("references", "Nobody, 2026", "card.references"),
        ("examples", (), "card.examples"),
        ("examples", (1,), "card.examples"),
        ("summary", None, "card.summary: 'None' is not possible; allowed: a text"),
        ("alters_data", "no", "card.alters_data: 'no' is not possible; allowed: True or False"),
        ("needs", ("batchnorm",), "did you mean 'batch_norm'"),
    ],
)
def test_cards_of_levers(field: str, value: object, says: str) -> None:
    with pytest.raises(BadInput) as error:
        Card(**{**LEVER_CARD, field: value})
    assert says in str(error.value)
    assert Card(**{**LEVER_CARD, "references": ["a list"]}).references == ("a list",)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("family", "norm", "did you mean 'norms'"),
        ("family", None, "card.family"),
        ("preset", "cheep", "did you mean 'cheap'"),
        ("needs", ("labelz",), "did you mean 'labels'"),
        ("unit", 1, "card.unit: 1 is not possible; allowed: a text"),
        ("twin", 2, "card.twin"),
        ("references", "Nobody, 2026", "card.references"),
    ],
)
def test_cards_of_probes(field: str, value: object, says: str) -> None:
    with pytest.raises(BadInput) as error:
        ProbeCard(**{**PROBE_CARD, field: value})
    assert says in str(error.value)


def test_a_card_in_a_file_is_told_with_its_line(edited, refused) -> None:
    edited(('examples=("shrink:0.5",),', 'examples=("shrink:0.5",), gradients=0,'))
    message = refused("levers", "mine.py:Shrink")
    assert "card.gradients: 0 is not possible; allowed: a number above 0" in message
    assert message.startswith("mine.py:")


def test_a_method_of_another_class_mixed_in_is_looked_at() -> None:
    class Mixed:
        """No lever."""

        def apply(self, recipe: Recipe) -> Recipe:
            """Forget to return."""

    class Made(Mixed, Lever):
        """A lever of it."""

        name: ClassVar[str] = "made"
        card: ClassVar[Card] = Card(**LEVER_CARD)

        @classmethod
        def neutral(cls, recipe: Recipe) -> Lever:
            """It has no options."""
            return cls()

    with pytest.raises(BadInput, match=r"Made\.apply: 'None'"):
        Made().apply(None)
    assert isinstance(Made.neutral(None), Made)
    assert "apply" not in vars(Part) or Part.apply is not Made.apply


def test_an_attribute_where_a_method_must_be(edited, refused) -> None:
    edited(
        ("    really: bool = False\n", "    really: bool = False\n    apply = None\n"),
        ("    def apply(self", "    def applied(self"),
    )
    assert "apply" in refused("levers", "mine.py:Halved")


def test_options_given_to_a_card(folder: Path, refused) -> None:
    assert "lever: 'mine.py:Shrink:0.5' is not possible; allowed: a name without options: mine.py:Shrink" in (
        refused("levers", "mine.py:Shrink:0.5")
    )
    assert "allowed: a name without options: batch" in refused("levers", "batch:x16")
    assert "allowed: a name without options: trace" in refused("probes", "trace:samples=3")
