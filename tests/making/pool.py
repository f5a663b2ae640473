"""Work for other processes, one piece of which ends the process that takes it."""

import os
import signal

DEADLY = 3
FAILING = 5


def double_unless_deadly(number):
    if number == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number


class _Told:
    """Is told to end while Python ignores what is raised."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):  # signals are heard between two instructions
            pass


def double_while_told_to_end(number):
    if number in (DEADLY, FAILING):
        told = _Told()
        del told
    if number == FAILING:
        raise ValueError("the work has failed, too")
    return 2 * number
