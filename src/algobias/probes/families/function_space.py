"""The stability norm of two-layer ReLU networks: which functions a learning rate can keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from algobias.lazy import no_grad, torch
from algobias.probes.base import Card, Probe
from algobias.probes.passes.calls import captured, logits_in, single_call
from algobias.probes.passes.losses import totals, trained_scale
from algobias.probes.passes.output_rows import curved
from algobias.probes.passes.weighing import example, examples
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject
from algobias.theory.stability import StabilityNorm, function_stability_norm, relu_stability_norm

if TYPE_CHECKING:
    from torch import Tensor, nn

ONLY = "it is defined for Linear - ReLU - Linear networks with biases and one output"


class FunctionSpaceNorm(Probe):
    """Stability norm of a two-layer ReLU network."""

    name: ClassVar[str] = "function_space_norm"
    revision: ClassVar[int] = 2  # 1 took a loss that is a sum over the batch for a mean in its threshold
    card: ClassVar[Card] = Card(
        summary="stability norm of a two-layer ReLU network: how bent its function is where the data are",
        family="stability",
        formula="S = sum_j |a_j| |w_j| min(rho(u_j, c_j), rho(-u_j, -c_j)), u_j = w_j / |w_j|, "
        "c_j = -b_j / |w_j|, rho(u, c) = P(u.X > c)^2 E[u.X - c | u.X > c] "
        "sqrt(1 + |E[X | u.X > c]|^2) over the inputs X; stable only where "
        "S <= 1 / (lr s) - 1/2, s second derivative of the loss in the output",
        unit="curvature of the loss",
        invariances="rescaling a neuron, (a, w, b) -> (a / s, s w, s b); batching, order and duplication of "
        "the data; orthogonal maps of the inputs together with the first layer",
        cost="one forward pass",
        references=(
            "Mulayoff, Michaeli and Soudry, The implicit bias of minima stability, 2021",
            "Nacson, Mulayoff, Ongie, Michaeli and Soudry, Multivariate shallow ReLU networks, 2023",
        ),
        preset="full",
        caution="a bound at zero residual, squared loss: sharpness >= s (1 + 2 S)",
    )

    def read(self, subject: Subject) -> Reading:
        """S with the share of every neuron; threshold and slack where the learning rate is known.

        Raises:
            Unavailable: Another network, or another loss than a squared one.
        """
        layers = _layers(subject.model)
        _, count = totals(subject)
        inputs = torch.cat([_inputs(subject, batch, layers, count) for batch in subject.batches])
        bend = _second_derivative(subject)
        found = layers.norm(inputs)
        details: dict[str, Any] = {"sharpness_bound": bend * found.sharpness_bound, "loss_curvature": bend}
        if layers.first.in_features == 1:
            details["function_form"] = layers.function_norm(inputs)
        training = subject.training
        plain = training is not None and training.name == "sgd" and not (training.momentum or training.delay)
        if training is not None and plain and training.lr:  # at rate 0 every function is stable
            threshold = 1 / (training.lr * bend * trained_scale(subject)) - 0.5
            details |= {"threshold": threshold, "slack": threshold - found.value}
        return self.reading(
            found.value,
            no_interval="computed exactly from the weights and the inputs read",
            parts={f"neuron {j}": float(share) for j, share in enumerate(found.neurons)},
            details=details,
        )


@dataclass(frozen=True)
class _Layers:
    first: nn.Linear
    last: nn.Linear

    def __call__(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.last(torch.relu(self.first(x))))

    def norm(self, inputs: Tensor) -> StabilityNorm:
        return relu_stability_norm(*self._arrays(), inputs.double().cpu().numpy())

    def function_norm(self, inputs: Tensor) -> float:
        outer, inner, biases = self._arrays()
        return function_stability_norm(outer, inner[:, 0], biases, inputs[:, 0].double().cpu().numpy())

    def _arrays(self) -> tuple[Any, Any, Any]:
        first, last = self.first, self.last
        tensors = last.weight[0], first.weight, first.bias
        outer, inner, biases = (t.detach().double().cpu().numpy() for t in tensors)
        return outer, inner, biases


def _layers(model: nn.Module) -> _Layers:
    """The two layers of the network.

    Raises:
        Unavailable: It is another network.
    """
    leaves = [m for m in model.modules() if not any(True for _ in m.children())]
    kept = [m for m in leaves if not isinstance(m, torch.nn.Flatten | torch.nn.Identity)]
    if len(kept) != 3 or [type(m) for m in kept] != [torch.nn.Linear, torch.nn.ReLU, torch.nn.Linear]:
        raise Unavailable(f"{ONLY}, made of these three modules")
    first, last = kept[0], kept[2]
    assert isinstance(first, torch.nn.Linear)
    assert isinstance(last, torch.nn.Linear)
    if last.out_features != 1 or first.bias is None or last.bias is None:
        raise Unavailable(ONLY)
    if not all(p.requires_grad for layer in (first, last) for p in layer.parameters()):
        raise Unavailable(f"{ONLY}, all of them trained")
    return _Layers(first, last)


@no_grad
def _inputs(subject: Subject, batch: Any, layers: _Layers, count: int) -> Tensor:
    """Inputs of a batch, [b, d], once the network is seen to be what its modules say."""
    with captured(subject.model, keep=True) as call:
        subject.loss(subject.model, batch)
    single_call(call)
    subject.meter.forwards += examples(batch) / count
    output = logits_in(call.output)
    if not call.inputs:
        raise Unavailable("the model takes no real-valued tensor")
    x = call.inputs[0].flatten(1)
    expected = layers(x) if x.shape[1] == layers.first.in_features else None
    if expected is None or expected.numel() != output.numel():
        raise Unavailable(f"{ONLY}; this one does more than its modules say")
    if not torch.allclose(expected.flatten(), output.flatten(), rtol=1e-4, atol=1e-5):
        raise Unavailable(f"{ONLY}; this one does more than its modules say")
    return x


def _second_derivative(subject: Subject) -> float:
    """s: second derivative of the loss of one example in its output, 1 for |f - y|^2 / 2.

    Raises:
        Unavailable: It depends on the output: not a squared loss.
    """
    batch = next(iter(subject.batches))
    found = []
    for i in range(min(3, examples(batch))):
        _, loss, leaf = curved(subject, example(batch, i))
        first = torch.autograd.grad(loss, leaf, create_graph=True)[0]
        if not first.requires_grad:
            raise Unavailable("it is defined for the squared loss; this one has no curvature in the output")
        found.append(_moved(leaf, first))
    values = torch.stack(found)
    if not bool((values > 0).all()) or float(values.max() - values.min()) > 1e-4 * float(values.max()):
        raise Unavailable("it is defined for the squared loss; this one's curvature depends on the output")
    return float(values.mean())


def _moved(leaf: Tensor, first: Tensor) -> Tensor:
    second = torch.autograd.grad(first.sum(), leaf, create_graph=True)[0]
    if second.requires_grad:
        third = torch.autograd.grad(second.sum(), leaf, allow_unused=True)[0]
        if third is not None and float(third.abs().max()) > 1e-4 * float(second.detach().abs().max()):
            raise Unavailable(
                "it is defined for the squared loss; this one's curvature depends on the output"
            )
    return second.sum().detach()
