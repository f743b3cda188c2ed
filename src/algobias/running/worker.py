"""The process that carries out work, one piece after the other, for whoever started it."""

from __future__ import annotations

import os
import queue
import signal
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Literal, TypeAlias

import torch

from algobias.errors import BadInput
from algobias.kept.store import Store
from algobias.own.user_code import told_as_bad_input
from algobias.own.user_file import already_announced
from algobias.running.distributed.launch import ProcessLost
from algobias.running.work import Load, Train, Work, Workplace
from algobias.runs.observer import Interrupted

Reply: TypeAlias = (
    tuple[Literal["done", "stopped"]]
    | tuple[Literal["lost"], str]
    | tuple[Literal["bad_input"], dict[str, str | None]]
    | tuple[Literal["error"], str, str]
)
"""How a piece of work has ended."""

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a process that has ended in order after SIGTERM."""


def serve(
    connection: Connection,
    store: Path,
    data_dir: Path | None,
    train: Train,
    load: Load,
    announced: frozenset[str] = frozenset(),
) -> None:
    """Main function of a worker process: carry out work until told to leave, or until the parent is gone.

    After SIGTERM the work at hand is stopped, its snapshots saved, and the process ends.

    Messages in: ``("work", Work)``, ``("stop",)``, ``("leave",)``. Messages out: ``("event", Event)`` and,
    once per work, ``("done",)``, ``("stopped",)``, ``("lost", ...)``, ``("bad_input", ...)`` or
    ``("error", summary, trace)``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    torch.set_num_threads(1)
    already_announced(announced)
    waiting: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
    stop, leaving = threading.Event(), threading.Event()

    def leave(number: int, frame: FrameType | None) -> None:
        leaving.set()
        stop.set()
        waiting.put(None)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one does not wait

    signal.signal(signal.SIGTERM, leave)

    def listen() -> None:
        while True:
            try:
                message = connection.recv()
            except (EOFError, OSError):
                os._exit(1)  # the parent was killed; files and database are safe at any moment
            if message[0] == "work":
                if not leaving.is_set():
                    stop.clear()
                waiting.put(message[1])
            elif message[0] == "stop":
                stop.set()
            else:
                waiting.put(None)

    threading.Thread(target=listen, daemon=True).start()
    place: Workplace | None = None
    while (work := waiting.get()) is not None:
        reply: Reply
        try:
            place = place or Workplace(Store(store), data_dir, train, load)
            with told_as_bad_input():
                work.carry_out(place, lambda event: connection.send(("event", event)), stop.is_set)
            reply = ("done",)
        except Interrupted:
            reply = ("stopped",)
        except BadInput as error:
            reply = ("bad_input", error.plain())
        except ProcessLost as error:
            reply = ("lost", str(error))
        except BrokenPipeError:
            os._exit(1)
        except Exception as error:
            reply = ("error", f"{type(error).__name__}: {error}", traceback.format_exc())
        connection.send(reply)
    if leaving.is_set():
        raise SystemExit(TERMINATED)
