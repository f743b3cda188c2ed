"""Class labels of a whole source: from its tensors, from a list a dataset keeps, or by reading it once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algobias.lazy import torch
from algobias.tasks.checks import first_batch
from algobias.tasks.labels import known_targets, label_key
from algobias.tasks.source import ItemSource, Source, TensorSource

if TYPE_CHECKING:
    from torch import Tensor


def labels_of(source: Source, key: str | int, most_read: int) -> Tensor | None:
    """Find the class labels of all examples of a source, [n], or None where they are not known.

    A list of labels that a dataset keeps is believed where it agrees with the first batch.

    Args:
        source: The examples.
        key: Where a batch of the training examples has its labels.
        most_read: Examples up to which the items of a dataset without such a list are loaded.
    """
    if label_key(first_batch(source)) != key:
        return None  # test examples without labels, say
    if isinstance(source, TensorSource):
        labels: Tensor = source.data[key]
        return labels.long().cpu()
    if isinstance(source, ItemSource) and source.collate is torch.utils.data.default_collate:
        listed = known_targets(source.dataset)
        some = first_batch(source)[key].long().cpu()
        if listed is not None and torch.equal(listed[: len(some)], some):
            return listed
    if len(source) <= most_read:
        return torch.cat([batch[key].long().cpu() for batch in source.batches(256)])
    return None
