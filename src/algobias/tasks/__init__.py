"""Tasks: what is learned, on which data, with which model, loss, metric and usual recipe."""

from algobias.tasks.registry import catalogue, load_task
from algobias.tasks.source import Source
from algobias.tasks.task import Task
from algobias.tasks.user_file import describe_user_task
from algobias.trees import batch_length

__all__ = ["Source", "Task", "batch_length", "catalogue", "describe_user_task", "load_task"]
