"""Where the sharpness settles: Adam's threshold, and the plateaus of batch sharpness."""

from __future__ import annotations

from algobias.theory._given import fraction, positive


def adam_threshold_sharpness(lr: float, beta1: float = 0.9) -> float:
    """Largest sharpness of the preconditioned Hessian at which Adam is stable.

    ``(2 + 2 beta1) / ((1 - beta1) lr)``, 38 / lr at beta1 = 0.9. With the second moment frozen, Adam is
    ``v = beta1 v + (1 - beta1) g; x -= lr v / P``: heavy ball with rate ``(1 - beta1) lr`` on the Hessian
    ``P^(-1/2) H P^(-1/2)``, P = diag(sqrt(second moment) + eps); the bias corrections are 1 late in training.
    Source: Cohen et al., Adaptive gradient methods at the edge of stability, 2022. Valid while P changes
    slowly; weight decay not included.

    Args:
        lr: Learning rate, above 0.
        beta1: From 0 to below 1.

    Raises:
        BadInput: A number out of range.

    Example:
        >>> round(adam_threshold_sharpness(0.1), 9)
        380.0
    """
    beta1 = fraction("beta1", beta1)
    return (2 + 2 * beta1) / ((1 - beta1) * positive("lr", lr))


def batch_sharpness_plateaus(lr: float, momentum: float) -> tuple[float, float]:
    """Where the batch sharpness was *seen* to settle under SGD with momentum: small batches, large batches.

    ``2 (1 - m) / lr`` and ``2 (1 + m) / lr``. Batch sharpness is the mean curvature of a batch's loss along
    that batch's own gradient. Empirical, not derived here: two plateaus reported by Andreyev et al., Momentum
    further constrains sharpness at the edge of stochastic stability, 2026; in between no formula is given,
    and which batch is small depends on the problem. Without momentum both are ``2 / lr``.

    Args:
        lr: Learning rate, above 0.
        momentum: m, from 0 to below 1.

    Raises:
        BadInput: A number out of range.

    Example:
        >>> batch_sharpness_plateaus(0.1, 0.5)
        (10.0, 30.0)
    """
    m, lr = fraction("momentum", momentum), positive("lr", lr)
    return 2 * (1 - m) / lr, 2 * (1 + m) / lr
