"""Task: data, model, loss, metric and the recipe they are usually trained with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.own.user_code import guarded, of_user
from algobias.recipe import Recipe
from algobias.recipe_fields import DataSpec, ModelSpec
from algobias.seeding.states import own_randomness
from algobias.tasks import fingerprint
from algobias.tasks.all_labels import labels_of
from algobias.tasks.checks import check_finite, check_labels, check_module, first_batch
from algobias.tasks.labels import label_key, stratified, with_labels
from algobias.tasks.numbers_given import finite_number, whole_number
from algobias.tasks.source import Source, source_from
from algobias.tasks.words import recipe_from_words
from algobias.trees import tensors_in

if TYPE_CHECKING:
    from torch import Tensor, nn

FIT_EXAMPLES = 2000
"""Training loss and metric are taken on at most so many training examples."""

READ_LABELS = 2000
"""Labels of a dataset up to this size are read by loading its items once."""

FIT_SEED, SUBSET_SEED = 20_001, 20_002


class Task:
    """What is learned and how well it is done.

    Args:
        name: Its name in reports and, for a task made in Python, in the recipe.
        train: A map-style dataset, or a tensor, a tuple or a dict of tensors (numpy arrays count).
        test: Held-out examples of the same kind; every audit uses all of them.
        model: Builds a freshly initialised ``nn.Module`` from torch's global random state.
        loss: ``loss(model, batch)``, the mean over the batch, one number.
        metric: ``metric(model, batch)``, one value for each example, higher is better (a likelihood as minus
            nats, accuracy as 0 or 100). With ``corpus``: ``metric(model, batches)``, one float for the set.
        recipe: Flat dict in the words of the command line, see
            :func:`algobias.tasks.words.recipe_from_words`.
        validation: Examples that a search for controls may see.
        metric_name: Name of the metric in reports.
        corpus: The metric is of the whole set (BLEU, say) and not a mean over examples.
        trivial: Metric of a predictor that knows nothing; None means the untrained model, unless that starts
            from trained weights: then it is not known.
        collate: Puts items into a batch; ``torch.utils.data.default_collate`` without it.
        habit: The field's habitual tolerance in units of the metric (0.4 on digits, 0.8 on other small image
            sets, 0.01 nats), or None.
        classes: Number of classes; found from the labels where they are known.
        weight: ``weight(batch)``, how much each example counts in the loss's mean over a batch, [B] (unmasked
            target tokens, say); None means alike. Loss and metric over many batches are weighted by it.
        also: Further metrics by name, ``function(model, batches)`` -> one number, of the test set at the
            planned end. They are shown and decide nothing.
        sample: ``sample(model)``, a text that shows what the network does; shown in the report. Randomness in
            it follows the seed.
        fit_examples: Training loss and metric are taken on at most so many training examples.
        revision: Raised by hand when the task's results change.

    Attributes:
        train: Training examples, a :class:`~algobias.tasks.source.Source`.
        test: Test examples.
        validation: Validation examples, or None.
        text: How :func:`~algobias.tasks.registry.load_task` finds it again; None for a task made in Python.
        reload: The call that makes it again in another process; None likewise.

    Small networks are called under ``torch.func.vmap`` over seeds; where loss, metric or network cannot be
    (``.item()``, a branch on a tensor's value, dropout), seeds are gone through one by one.

    Raises:
        BadInput: An argument of the wrong type, NaN or infinity in the data (name and example), unequal
            lengths, no examples, a single class, labels out of range, an unknown or impossible word in the
            recipe.
    """

    def __init__(
        self,
        name: str,
        train: Any,
        test: Any,
        model: Callable[[], nn.Module],
        loss: Callable[[nn.Module, Any], Tensor],
        metric: Callable[[nn.Module, Any], Any],
        recipe: Mapping[str, Any],
        validation: Any = None,
        metric_name: str = "metric",
        corpus: bool = False,
        trivial: float | None = None,
        collate: Callable[[list[Any]], Any] | None = None,
        *,
        habit: float | None = None,
        classes: int | None = None,
        weight: Callable[[Any], Tensor] | None = None,
        also: Mapping[str, Callable[[nn.Module, Any], Any]] | None = None,
        sample: Callable[[nn.Module], str] | None = None,
        fit_examples: int = FIT_EXAMPLES,
        revision: int = 1,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise BadInput("name", name, "a name")
        if not isinstance(metric_name, str) or not metric_name:
            raise BadInput("metric_name", metric_name, "a name")
        if not isinstance(corpus, bool):
            raise BadInput("corpus", corpus, "True or False")
        if also is not None and not isinstance(also, Mapping):
            raise BadInput("also", type(also).__name__, "functions by name")
        functions: dict[str, Callable[..., Any]] = {"model": model, "loss": loss, "metric": metric}
        functions |= {f"also[{key!r}]": function for key, function in (also or {}).items()}
        optional = {"weight": weight, "sample": sample, "collate": collate}
        functions |= {key: function for key, function in optional.items() if function is not None}
        for field, function in functions.items():
            if not callable(function):
                raise BadInput(field, type(function).__name__, "a function")
        if isinstance(model, torch.nn.Module):
            raise BadInput(
                "model", type(model).__name__, "a function that builds the network anew for each seed"
            )
        self.name, self.metric_name = name, metric_name
        self.model, self.loss = of_user("model", model), of_user("loss", loss)
        self.metric = of_user("metric", metric)
        self.collate, self.corpus = collate, corpus
        self.weight = None if weight is None else of_user("weight", weight)
        self.sample = None if sample is None else of_user("sample", sample)
        self.also = {key: of_user(f"also[{key!r}]", function) for key, function in (also or {}).items()}
        self.trivial = finite_number("trivial", trivial)
        self.habit = finite_number("habit", habit, above=0.0)
        self.revision = whole_number("revision", revision, 0)
        self.fit_examples = whole_number("fit_examples", fit_examples, 1, FIT_EXAMPLES)
        self.train: Source = source_from(train, "train", collate)
        self.test: Source = source_from(test, "test", collate)
        self.validation: Source | None = (
            None if validation is None else source_from(validation, "validation", collate)
        )
        for part, source in self.sources().items():
            check_finite(source, part)
        self._label_key = label_key(first_batch(self.train))
        self._labels: dict[str, Tensor | None] = {}
        self._classes = None if classes is None else whole_number("classes", classes, 2)
        if classes is not None and self._label_key is None:
            raise BadInput("classes", classes, "nothing, where a batch has no integer class labels")
        known = {part: self.all_labels(part, read=False) for part in self.sources()}
        check_labels({part: found for part, found in known.items() if found is not None}, classes)
        self._words = dict(recipe) if isinstance(recipe, Mapping) else recipe
        self.text: str | None = None
        self.reload: tuple[Callable[..., Task], tuple[Any, ...]] | None = None
        self.files: tuple[Path, ...] = ()
        self._hash: str | None = None
        self.recipe()

    def __repr__(self) -> str:
        return f"Task({self.name!r}, train={len(self.train)}, test={len(self.test)})"

    def __reduce__(self) -> Any:
        """A task that was loaded by text travels to another process as that text."""
        return super().__reduce__() if self.reload is None else self.reload

    def _restart(self, name: str, classes: int | None) -> None:
        """Forget what was found out about the examples, which have changed."""
        self.name, self._classes, self._labels, self._hash = name, classes, {}, None

    def sources(self) -> dict[str, Source]:
        """``train``, ``test`` and, where there is one, ``validation``."""
        named = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: source for name, source in named.items() if source is not None}

    def recipe(self) -> Recipe:
        """The recipe that the task is usually trained with, validated.

        A user's task is named by its file's name without the folder: moving a project retrains nothing.
        """
        name = self.name
        if self.text is not None:
            path, colon, rest = self.text.rpartition(":")
            name = f"{Path(path).name}:{rest}" if colon and path.endswith(".py") else self.text
        return recipe_from_words(name, len(self.train), self._words)

    def trivial_metric(self) -> float | None:
        """Metric of a predictor that knows nothing; None means that of the untrained model."""
        return self.trivial

    def build_model(self, spec: ModelSpec | None = None) -> nn.Module:
        """A freshly initialised network: the task's own, or one of the zoo, from torch's global random state.

        Args:
            spec: Which; a zoo model takes its input shape and number of classes from the data.

        Raises:
            BadInput: Not a model of the zoo, or one that does not fit the data; layers without weights yet.
        """
        from algobias.models.registry import build as build_zoo_model

        if spec is None or spec.name == "task":
            net: nn.Module = guarded("model", self.model)
            check_module(net)
            return net
        inputs = next(iter(tensors_in(first_batch(self.train))))[1]
        if not inputs.is_floating_point():
            raise BadInput(
                "model", spec.name, "the task's own, where the first input is not a tensor of real numbers"
            )
        return build_zoo_model(spec, tuple(inputs.shape[1:]), self.classes)

    @property
    def classes(self) -> int | None:
        """Number of classes, or None where the labels are not classes or not all known."""
        if self._classes is None and self._label_key is not None:
            found = [self.all_labels(part) for part in self.sources()]
            known = [labels for labels in found if labels is not None]
            # a dataset too large to read leaves the number open: part of the labels is only a lower bound
            if found[0] is not None and len(known) == len(found) and all(int(y.min()) >= 0 for y in known):
                self._classes = 1 + max(int(labels.max()) for labels in known)
        return self._classes

    def labels(self, batch: Any) -> Tensor | None:
        """Class labels of a batch, [..., B], or None where it has none."""
        return None if self._label_key is None else batch[self._label_key]

    def replace_labels(self, batch: Any, labels: Tensor) -> Any:
        """The batch with other class labels, [..., B]; the batch given is unchanged.

        Raises:
            BadInput: The task has no class labels.
        """
        if self._label_key is None:
            raise BadInput("labels", self.name, "a task whose batches have integer class labels")
        return with_labels(batch, self._label_key, labels)

    def all_labels(self, part: str, read: bool = True) -> Tensor | None:
        """Class labels of all examples of ``train``, ``test`` or ``validation``, [n], or None if not known.

        Args:
            part: Which source.
            read: Load the items of a dataset of up to :data:`READ_LABELS` examples without a list of labels.
        """
        source = self.sources()[part]
        if self._label_key is None:
            return None
        if self._labels.get(part) is None:
            self._labels[part] = labels_of(source, self._label_key, READ_LABELS if read else 0)
        return self._labels[part]

    def fit_index(self, used: Tensor | None = None) -> Tensor:
        """Training examples on which loss and metric are taken for matched fit, sorted.

        All used examples up to ``fit_examples`` (2,000), else a fixed so many, stratified over classes where
        they are known.

        Args:
            used: Training examples in use, [M]; all of them without it.
        """
        used = torch.arange(len(self.train)) if used is None else used
        if len(used) <= self.fit_examples:
            return used.sort().values
        labels = self.all_labels("train")
        return stratified(used, None if labels is None else labels[used], self.fit_examples, FIT_SEED)

    def used_index(self, data: DataSpec) -> Tensor:
        """Training examples that a recipe uses, sorted, [M].

        ``first`` takes the first round(n * fraction), ``random`` a fixed subset of that size, stratified over
        classes where they are known.
        """
        n = len(self.train)
        count = max(1, round(n * data.fraction))
        if data.pick == "first" or count == n:
            return torch.arange(count)
        return stratified(torch.arange(n), self.all_labels("train"), count, SUBSET_SEED)

    def fingerprint(self) -> str:
        """Hash of the data, of the user's code and of the task's revision.

        Any changed number in the data, any changed line in a user's task file (or in a module it imports from
        its folder) gives another fingerprint. Built-in tasks count with their ``revision``. Cost: one pass
        over the data, then kept.
        """
        if self._hash is None:
            digest = hashlib.sha256(f"task revision {self.revision} corpus {self.corpus}".encode())
            for part, source in self.sources().items():
                digest.update(f"{part} {fingerprint.hash_source(source)}".encode())
            functions: list[Callable[..., Any] | None] = [self.model, self.loss, self.metric, self.collate]
            functions += [self.weight, self.sample, *self.also.values()]
            if self.fit_examples != FIT_EXAMPLES:
                digest.update(f"fit examples {self.fit_examples}".encode())
            digest.update(fingerprint.hash_code(functions, self.files).encode())
            with own_randomness():
                digest.update(fingerprint.hash_structure(self.build_model()).encode())
            self._hash = digest.hexdigest()
        return self._hash
