"""Numerical precision: matrix products of rounded operands, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.levers.arranged import Arranged
from algobias.levers.base import Card, Part
from algobias.levers.context import Context
from algobias.levers.lever import Lever
from algobias.levers.model.precision_memory import kept_in
from algobias.levers.model.precision_pieces import groups_of_layers, groups_of_operands
from algobias.levers.pieces import Piece
from algobias.levers.size import NoShare, between
from algobias.levers.step import Batch, GradFn, Grads, Key, State, Transform
from algobias.quantised.presets import KEPT, ROTATED, PresetName, operand_texts, preset
from algobias.recipe import Recipe
from algobias.spelling import Whole, validate_options

if TYPE_CHECKING:
    from torch import Tensor, nn

    from algobias.quantised.operands import Operands

OPERANDS = ("fx", "fw", "dg", "dw", "wg", "wx")


class Precision(Part):
    """Round the operands of the three products of every layer, ``y = x w^T``, ``dx = g w``, ``dw = g^T x``.

    Straight through for the gradient; in evaluation the forward operands are rounded, to the nearest. Random
    numbers of stochastic rounding follow (seed, update, pass, worker, layer, operand).

    Attributes:
        format: A named set of operands: see ``algobias levers precision``; ``float32`` rounds none.
        p: Strength: every operand is ``(1 - p) x + p Q(x)``; 0 changes nothing.
        smp: How many independent roundings of the gradient are averaged for the weight's gradient.
        scale: Scales of the forward operands where the set has them per tensor: ``row`` is one for each
            example (position) and each output.
        rht: Products whose operands are rotated first (random Hadamard, blocks of 16): ``none``, ``weight``
            (the weight's gradient) or ``all``; as the set has it without it.
        acc: How the sums of the forward product are held: ``m7e4-chunk16`` rounds them to 7 bits of mantissa
            and 4 of exponent every 16 products; as the set has it without it.
        high: Layers that keep float32: ``ends`` are the first convolution and the last linear layer;
            ``none``; or patterns of names, separated by colons (``head:blocks.0.*``).
        layers: Layers that are rounded, as patterns of names separated by colons; all others keep float32.
        fx: Input in the forward product, in place of the set's: a format and modifiers, ``int8-row``.
        fw: Weight in the forward product.
        dg: Gradient of the output in the input's gradient.
        dw: Weight in the input's gradient; as in the forward product without it.
        wg: Gradient of the output in the weight's gradient.
        wx: Input in the weight's gradient; as in the forward product without it.
        weights: The weights after every update: a format without random numbers, ``bfloat16``.
        moment1: The optimizer's momentum, or Adam's mean.
        moment2: Adam's mean square.
    """

    name: ClassVar[str] = "precision"
    positional: ClassVar[str | None] = "format"

    format: PresetName
    p: float = Field(default=1.0, ge=0, le=1)
    smp: Whole = Field(default=1, ge=1, le=64)
    scale: Literal["tensor", "row"] = "tensor"
    rht: Literal["none", "weight", "all"] | None = None
    acc: str = ""
    high: str = "ends"
    layers: str = "*"
    fx: str = ""
    fw: str = ""
    dg: str = ""
    dw: str = ""
    wg: str = ""
    wx: str = ""
    weights: str = ""
    moment1: str = ""
    moment2: str = ""

    card: ClassVar[Card] = Card(
        summary="Rounds the operands of matrix products to formats of few bits, forward and backward.",
        saves="bits of every product: time, memory and energy on hardware that has the format",
        costs="rounding errors; here the format is emulated in float32, which is slower",
        not_injected="layers would have to be exchanged: quantize_training(model, ...) in the script does",
        acts_on=("gradients",),
        moves=("gradient_to_noise", "quantised_gradient_bias", "gradient_variance"),
        not_when="Where hardware has no such format nothing is saved: emulation tells what it would cost.",
        references=(
            "Banner et al., Scalable methods for 8-bit training of neural networks, 2018",
            "Chmiel et al., Accurate neural training with 4-bit matrix multiplications, 2023",
            "Rouhani et al., Microscaling Data Formats for Deep Learning, 2023",
            "Chmiel et al., FP4 All the Way: Fully Quantized Training of LLMs, 2025",
        ),
        examples=("precision:grad-int4", "precision:int8,high=none", "precision:grad-int4,p=0.5"),
        controls=(
            "requantise:dg=luq,wg=luq",
            "requantise:dg=luq,wg=luq,smp=2",
            "requantise:dg=e3m0,wg=e3m0",
            "requantise:dg=int4-sr,wg=int4-sr,smp=4",
            "requantise:wg=float32",
            "requantise:fx=e4m3",
            "requantise:rht=all",
            "requantise:high=ends",
        ),
    )

    @field_validator(*OPERANDS, *KEPT)
    @classmethod
    def _readable(cls, value: str, info: ValidationInfo) -> str:
        return readable_operand(f"{cls.name}.{info.field_name}", value) if value else value

    @field_validator("acc")
    @classmethod
    def _held(cls, value: str, info: ValidationInfo) -> str:
        return readable_accumulator(f"{cls.name}.{info.field_name}", value) if value else value

    @model_validator(mode="after")
    def _fits(self) -> Precision:
        try:
            self._texts()
        except BadInput as error:
            raise ValueError(error.allowed) from error
        return self

    @classmethod
    def neutral(cls, recipe: Recipe) -> Precision:
        """Any format at strength 0."""
        return cls(format="int8", p=0.0)

    def idle(self, recipe: Recipe) -> bool:
        """Strength 0, or nothing to round."""
        return self.p == 0 or not self._acts()

    def part_of(self, fraction: float, recipe: Recipe) -> Precision:
        """Linear in the strength, from float32."""
        now = next((part for part in recipe.parts if part.name == self.name), None)
        if now is not None:
            raise NoShare("the recipe has a format already, and between two formats there is none")
        return self.with_options(p=between(0.0, self.p, fraction))

    def pieces(self, recipe: Recipe, net: nn.Module) -> Sequence[Piece[Lever]]:
        """Each product, each operand of a product that rounds two, and at most eight groups of layers.

        Sums in few bits are a piece of the forward product. A repaired layer, and a layer that is not of the
        group, keep float32.
        """
        from algobias.quantised.choice import Choice, layers_of

        texts, usual = self._texts(), preset(self.format)
        operands = self.operands()
        rht: str = self.rht or next(word for word, products in ROTATED.items() if products == usual.rotated)
        acc = self.acc or usual.accumulator
        found: list[Piece[Lever]] = []
        names = ["fx", *operands.rounded] if acc and "fx" not in operands.rounded else operands.rounded

        def of(kept: Collection[str]) -> Precision:
            own = {name: text for name, text in texts.items() if name in kept}
            held = acc if "fx" in kept else ""
            fixed: dict[str, object] = {
                "p": self.p,
                "smp": self.smp,
                "high": self.high,
                "layers": self.layers,
            }
            return validate_options(Precision, {"format": "float32", **fixed, **own, "rht": rht, "acc": held})

        for text, group in groups_of_operands(names):
            found.append(Piece(text, of(group), of(set(names) - group)))
        asked = Choice(operands, layers_of(self.high), layers_of(self.layers)).of(net)
        layers = [name for name, module in net.named_modules() if is_rounded(name, module, asked)]
        for text, each in groups_of_layers(layers):
            alone = self.with_options(layers=":".join(each))
            high = ":".join((*(() if self.high == "none" else (self.high,)), *each))
            found.append(Piece(text, alone, self.with_options(high=high)))
        return found

    def cannot_follow(self, earlier: Arranged) -> bool:
        """Comes before whatever takes several gradients, each of which draws its own numbers.

        And before what goes around the optimizer, where it rounds what that keeps.
        """
        if not isinstance(earlier, Part):
            return False
        several = type(earlier).gradient not in (Part.gradient, Precision.gradient)
        remembers = type(earlier).update not in (Part.update, Precision.update)
        return several or (remembers and bool(self._kept()))

    def operands(self) -> Operands:
        """What the operands of a layer go through."""
        from algobias.quantised.operands import Operands

        usual = preset(self.format)
        return Operands.read(
            self._texts(),
            strength=self.p,
            copies=self.smp,
            rotated=ROTATED[self.rht] if self.rht else usual.rotated,
            accumulator=self.acc or usual.accumulator,
        )

    def _acts(self) -> bool:
        return bool(self._rounds() or self._kept())

    def _rounds(self) -> bool:
        return bool(self._texts() or self.acc or preset(self.format).accumulator)

    def _kept(self) -> dict[str, str]:
        usual = preset(self.format).kept
        return {name: text for name in KEPT if (text := getattr(self, name) or usual.get(name, ""))}

    def _texts(self) -> Mapping[str, str]:
        own = {name: getattr(self, name) for name in OPERANDS if getattr(self, name)}
        return operand_texts(self.format, self.scale, own)

    def model(self, net: nn.Module) -> nn.Module:
        """Make its layers round their operands."""
        if not self._rounds():
            return net
        from algobias.quantised.choice import Choice, layers_of
        from algobias.quantised.layers import round_layers

        choice = Choice(self.operands(), layers_of(self.high), layers_of(self.layers))
        found = round_layers(net, choice.of(net))
        if not any(layer.operands is not None or layer.chosen for layer in found):
            listed = "; ".join(f"{layer.name} ({layer.reason})" for layer in found[:8]) or "it has no layer"
            raise BadInput("precision", self.spelling(), f"a network with layers to round; here: {listed}")
        return net

    def update(self, transform: Transform, context: Context) -> Transform:
        """Round what is kept between updates."""
        return kept_in(transform, self._kept(), self.p) if self._kept() else transform

    def gradient(self, grad: GradFn, context: Context) -> GradFn:
        """Set the keys that random numbers follow."""
        if not context.keys:
            return grad
        from algobias.quantised.draws import key_of

        def keyed(state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
            rows = key.places or ((key.turn, key.worker),) * len(key.seeds)
            lead = state.params.shape[:-1]

            def of(layer: str) -> Tensor:
                texts = (
                    f"{seed},{key.update},{turn},{worker},{layer}"
                    for seed, (turn, worker) in zip(key.seeds, rows, strict=True)
                )
                keys = torch.tensor([key_of(text) for text in texts], device=state.params.device)
                return keys.reshape(lead)

            keys = {name: of(name) for name in context.keys}
            grads, after = grad(State(state.params, state.buffers | keys, state.layout), batch, key)
            buffers = {name: buffer for name, buffer in after.buffers.items() if name not in keys}
            return grads, State(after.params, buffers, after.layout)

        return keyed


def readable_operand(field: str, text: str) -> str:
    """Spell the format of an operand as it is always spelled.

    Raises:
        BadInput: It cannot be read.
    """
    from algobias.numerics.quantiser import parse_quantiser

    return _spelled(parse_quantiser, field, text)


def readable_accumulator(field: str, text: str) -> str:
    """Spell an accumulator as it is always spelled.

    Raises:
        BadInput: It cannot be read.
    """
    from algobias.numerics.accumulators import parse_accumulator

    return _spelled(parse_accumulator, field, text)


def _spelled(parse: Callable[[str], object], field: str, text: str) -> str:
    try:
        return str(parse(text))
    except BadInput as error:
        raise error.of(field) from error


def is_rounded(name: str, module: nn.Module, asked: Callable[[str, nn.Module], Operands | str]) -> bool:
    """Whether a layer would be rounded."""
    from algobias.quantised.layers import is_product

    return is_product(module) and not isinstance(asked(name, module), str)
