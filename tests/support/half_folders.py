"""A process that begins a folder as large as a model and never ends it, to be killed."""

import subprocess
import sys
import time
from pathlib import Path


def begun(folder):
    """The process, once its temporary folder beside `folder` holds something."""
    process = subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.close()
    return process


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))

    from var.files import atomic_folder

    with atomic_folder(sys.argv[1], replace=False) as temporary:
        (temporary / "half").write_bytes(bytes(10**6))
        print("begun", flush=True)
        time.sleep(600)
