"""Work on files for `slidefile.batch` that other processes can take: it writes anew what is in them."""

import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from tissuumaps_sic.slidefile.batch import BatchItem, LeftOut, Worked
from tissuumaps_sic.slidefile.errors import SicError, WrongUseError
from tissuumaps_sic.slidefile.made import stamp


@dataclass(frozen=True)
class Shout:
    """Writes a file's text in capitals; some texts do something else."""

    folder: Path

    def plan(self, path):
        return BatchItem(path, (path,), (self.folder / f"{path.stem}.out",))

    def __call__(self, item):
        text = item.path.read_text()
        logging.getLogger("tissuumaps_sic.shout").warning("%s: heard %s", item.path.name, text)
        match text:
            case "bad":
                raise SicError(f"{item.path.name}: is bad")
            case "bug":
                raise ZeroDivisionError("by zero")
            case "nonsense":
                raise WrongUseError("--loud: cannot be")
            case "nothing":
                return LeftOut("says nothing")
            case "deadly":
                os.kill(os.getpid(), signal.SIGKILL)
            case "own":
                item.path.write_text("own, read")
        self.folder.mkdir(exist_ok=True)
        item.outputs[0].write_text(text.upper())
        return Worked({"said": text.upper(), "by": os.getpid()}, {item.path: stamp(item.path)})
