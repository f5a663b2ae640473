"""Work for other processes, one piece of which ends the process that takes it."""

import os
import signal

DEADLY = 3


def double_unless_deadly(number):
    if number == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * number
