"""Edits of a change of precision: the controls that keep its bits."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from algobias.levers.base import Card, Lever
from algobias.levers.model.precision import OPERANDS, Precision, readable_accumulator, readable_operand
from algobias.quantised.presets import KEPT, PresetName
from algobias.recipe import Recipe
from algobias.spelling import Whole, validate_options


class Requantise(Lever):
    """Change options of the recipe's ``precision``; a recipe without it stays as it is.

    What is not named stays. So a control of a change of precision says only what it repairs, the baseline
    treated with it is the baseline, and its bits are those of the change unless it names a format.

    Attributes:
        format: Another set of operands.
        p: Another strength.
        smp: Averaged roundings of the gradient in the weight's gradient.
        scale: Scales of the forward operands.
        rht: Products whose operands are rotated first.
        acc: How sums of the forward product are held.
        high: Layers that keep float32.
        layers: Layers that are rounded.
        fx: Input in the forward product; ``float32`` repairs it.
        fw: Weight in the forward product.
        dg: Gradient of the output in the input's gradient.
        dw: Weight in the input's gradient.
        wg: Gradient of the output in the weight's gradient.
        wx: Input in the weight's gradient.
        weights: The weights after every update.
        moment1: The optimizer's momentum, or Adam's mean.
        moment2: Adam's mean square.
    """

    name: ClassVar[str] = "requantise"

    format: PresetName | None = None
    p: float | None = Field(default=None, ge=0, le=1)
    smp: Whole | None = Field(default=None, ge=1, le=64)
    scale: Literal["tensor", "row"] | None = None
    rht: Literal["none", "weight", "all"] | None = None
    acc: str | None = None
    high: str | None = None
    layers: str | None = None
    fx: str | None = None
    fw: str | None = None
    dg: str | None = None
    dw: str | None = None
    wg: str | None = None
    wx: str | None = None
    weights: str | None = None
    moment1: str | None = None
    moment2: str | None = None

    card: ClassVar[Card] = Card(
        summary="Repairs a change of precision: another format or rounding for some operands or layers.",
        saves="what the change of precision saves, less what it gives back",
        costs="bits, where it names a wider format; smp=K takes K products of the weight's gradient",
        not_injected="a script has no precision of ours to repair: quantize_training(model, ...) in it does",
        acts_on=("gradients",),
        moves=("gradient_to_noise", "quantised_gradient_bias", "gradient_variance"),
        not_when="Another product is guilty: algobias explain says which. Alone it does nothing.",
        references=(
            "Chmiel et al., Accurate neural training with 4-bit matrix multiplications, 2023",
            "Chmiel et al., FP4 All the Way: Fully Quantized Training of LLMs, 2025",
        ),
        examples=("requantise:format=grad-luq", "requantise:wg=luq,smp=2", "requantise:high=ends"),
        needs=("precision",),
    )

    @field_validator(*OPERANDS, *KEPT)
    @classmethod
    def _readable(cls, value: str | None, info: ValidationInfo) -> str | None:
        return None if value is None else readable_operand(f"{cls.name}.{info.field_name}", value)

    @field_validator("acc")
    @classmethod
    def _held(cls, value: str | None, info: ValidationInfo) -> str | None:
        return None if value is None else readable_accumulator(f"{cls.name}.{info.field_name}", value)

    @classmethod
    def neutral(cls, recipe: Recipe) -> Requantise:
        """Nothing named."""
        return cls()

    def apply(self, recipe: Recipe) -> Recipe:
        """Edit the options of the recipe's precision.

        Raises:
            BadInput: The options do not go together.
        """
        own = next((part for part in recipe.parts if part.name == Precision.name), None)
        given = {name: value for name, value in self if value is not None}
        if own is None or not given:
            return recipe
        options = {**dict(own.options), **given}
        spec = validate_options(Precision, options).spec()
        return recipe.edit(parts=[(spec if part is own else part).model_dump() for part in recipe.parts])
