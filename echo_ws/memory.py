"""How much memory this process uses."""

import os
import resource
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")
_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def used_bytes() -> int:
    """Return what is resident; where the system does not tell, the most that ever was."""
    try:
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT_BYTES
