"""Stability of minima, in one place: which minima an algorithm can keep.

========================== ===============================================================
full batch, momentum, Adam :mod:`algobias.theory.deterministic`
stale gradients            :mod:`algobias.theory.deterministic`
of random age              :mod:`algobias.theory.random_delay`
SGD in mean square         :mod:`algobias.theory.mean_square`
two-layer ReLU networks    :mod:`algobias.theory.relu_stability`
scalar networks            :mod:`algobias.theory.scalar_nets`
gradient and label noise   :mod:`algobias.theory.noise`
========================== ===============================================================
"""

from algobias.theory.deterministic import (
    Algorithm,
    delayed_heavy_ball_product,
    delayed_product,
    delayed_shifted_product,
    largest_stable_rate,
    matched_rate,
    threshold_sharpness,
)
from algobias.theory.edge import adam_threshold_sharpness, batch_sharpness_plateaus
from algobias.theory.mean_square import (
    MeanSquareThreshold,
    mean_square_threshold,
    mean_square_threshold_from_gram,
    single_weight,
)
from algobias.theory.noise import (
    NoiseScale,
    label_noise_penalty,
    label_noise_variance,
    noise_scale,
    stationary_variance,
)
from algobias.theory.random_delay import random_delay_product
from algobias.theory.relu_stability import StabilityNorm, function_stability_norm, relu_stability_norm
from algobias.theory.scalar_nets import (
    gradient_flow_minimum,
    gradient_flow_sharpness,
    imbalance_after,
    minimum_sharpness,
)

__all__ = [
    "Algorithm",
    "MeanSquareThreshold",
    "NoiseScale",
    "StabilityNorm",
    "adam_threshold_sharpness",
    "batch_sharpness_plateaus",
    "delayed_heavy_ball_product",
    "delayed_product",
    "delayed_shifted_product",
    "function_stability_norm",
    "gradient_flow_minimum",
    "gradient_flow_sharpness",
    "imbalance_after",
    "label_noise_penalty",
    "label_noise_variance",
    "largest_stable_rate",
    "matched_rate",
    "mean_square_threshold",
    "mean_square_threshold_from_gram",
    "minimum_sharpness",
    "noise_scale",
    "random_delay_product",
    "relu_stability_norm",
    "single_weight",
    "stationary_variance",
    "threshold_sharpness",
]
