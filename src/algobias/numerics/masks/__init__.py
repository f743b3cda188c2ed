"""N:M sparsity: which entries of a tensor are kept, as pure tensor functions.

``magnitude`` has the masks of groups, ``transposable`` those of square blocks whose rows and columns are both
sparse (exact), ``approximate`` the greedy rule that they replace, ``unbiased`` random pruning that keeps the
expectation, ``diversity`` how many masks there are to choose from.
"""

from algobias.numerics.masks.approximate import completed, greedy_mask
from algobias.numerics.masks.diversity import admissible, mask_diversity
from algobias.numerics.masks.magnitude import (
    blocks_of,
    from_blocks,
    groups_of,
    magnitude_mask,
    mask_distance,
    retained_share,
)
from algobias.numerics.masks.programme import programme_mask
from algobias.numerics.masks.transposable import transposable_mask
from algobias.numerics.masks.unbiased import inclusion, sparsify
from algobias.numerics.masks.weights import matrix_of, weight_mask

__all__ = [
    "admissible",
    "blocks_of",
    "completed",
    "from_blocks",
    "greedy_mask",
    "groups_of",
    "inclusion",
    "magnitude_mask",
    "mask_distance",
    "mask_diversity",
    "matrix_of",
    "programme_mask",
    "retained_share",
    "sparsify",
    "transposable_mask",
    "weight_mask",
]
