"""Tasks: what is learned, on which data, with which model, loss, metric and usual recipe."""

from typing import TYPE_CHECKING

from algobias.lazy import attributes_from, names_of

if TYPE_CHECKING:
    from algobias.tasks.registry import catalogue, load_task
    from algobias.tasks.source import Source
    from algobias.tasks.task import Task
    from algobias.tasks.user_file import describe_user_task
    from algobias.trees import batch_length

__all__ = ["Source", "Task", "batch_length", "catalogue", "describe_user_task", "load_task"]

__getattr__ = attributes_from(
    __name__,
    {
        "algobias.tasks.registry": ("catalogue", "load_task"),
        "algobias.tasks.source": ("Source",),
        "algobias.tasks.task": ("Task",),
        "algobias.tasks.user_file": ("describe_user_task",),
        "algobias.trees": ("batch_length",),
    },
)
__dir__ = names_of(globals())
