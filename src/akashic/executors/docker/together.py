"""Several calls of the engine at once: each is waiting, not work of ours."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from akashic.errors import AkashicError


def together(tasks: Sequence[Callable[[], None]]) -> None:
    """Do all of it at the same time and wait for all. The first failure is raised, one that has words for
    people before others."""
    if len(tasks) < 2:
        for task in tasks:
            task()
        return
    failures: list[BaseException] = []

    def attempt(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=attempt, args=(task,), name="container") for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        known = [error for error in failures if isinstance(error, AkashicError)]
        raise (known or failures)[0]
