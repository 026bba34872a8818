"""Processes that compute: forked from one that has imported torch, so that each starts at once.

Run as a program, this is that process: it forks for every line of JSON on its standard input and answers with a line.
"""

import contextlib
import faulthandler
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing import forkserver, util
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ASKED = signal.SIGUSR2
"""On this signal a process writes where it is; SIGUSR1 is one of those that stop a training."""


class Forker:
    """Starts functions, of `training_runs` or as "module.function", in processes of their own; `close` ends all."""

    def __init__(self):
        paths = [str(ROOT), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )
        self._running = {}  # processes, and the files of their output

    def start(self, function, log, *arguments, environment=None, **named):
        """The process number of `function(*arguments, **named)`; `log` is the file of its output."""
        plain = {"arguments": arguments, "named": named, "environment": environment or {}, "log": str(log)}
        pid = self._ask(function=function, **plain)
        self._running[pid] = Path(log)
        return pid

    def poll(self, pid):
        """The exit status of a process, negative for a signal; None while it runs."""
        status = self._ask(poll=pid)
        if status is not None:
            self._running.pop(pid, None)
        return status

    def wait(self, pid, seconds=120, beside=()):
        """The exit status of a process when it has ended; if it does not, those `beside` it are ended too, and told."""
        until = time.monotonic() + seconds
        while (status := self.poll(pid)) is None:
            if time.monotonic() > until:
                told = self._ended_by_force({pid, *beside} & self._running.keys())
                raise TimeoutError(f"process {pid} did not end within {seconds} s\n{told}")
            time.sleep(0.01)
        return status

    def run(self, function, log, *arguments, **named):
        """The output of a function that is started so, which must end well."""
        status = self.wait(self.start(function, log, *arguments, **named))
        text = Path(log).read_text()
        assert status == 0, text
        return text

    def _ended_by_force(self, pids):
        """The output of these processes, to whose end they and those that they started write where they are."""
        for pid in pids:
            for each in (pid, *_descendants(pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, ASKED)
        time.sleep(1)
        for pid in pids:
            for each in (*_descendants(pid), pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
        logs = {pid: self._running[pid] for pid in pids}
        texts = {pid: log.read_text(errors="replace") if log.exists() else "" for pid, log in logs.items()}
        return "\n".join(f"process {pid}:\n{text}" for pid, text in texts.items())

    def close(self):
        """End what still runs."""
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.kill()
        self._server.wait()

    def _ask(self, **request):
        self._server.stdin.write(json.dumps(request, default=str) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())


def start_pair(forker, function, log, **arguments):
    """The exit statuses of two processes of one group, which meet in a store of this process."""
    import torch.distributed as dist

    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    pids = []
    for rank in range(2):
        group = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}
        group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port, "TORCHELASTIC_USE_AGENT_STORE": "True"}
        group |= {"TORCHELASTIC_RESTART_COUNT": 0}
        pids.append(forker.start(function, f"{log}-{rank}", environment=group, **arguments))
    return [forker.wait(pid, beside=pids) for pid in pids], store


def _descendants(pid):
    """The processes that a process started, and those that they started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:  # which grows meanwhile
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def fork_from_here():
    """Let the server that multiprocessing forks from be forked from this process, which has imported torch.

    It has no other threads then, as that of users has none, if it is started before a group of processes is.
    """
    util.spawnv_passfds = _forked


def _forked(path, command, kept):
    """The number of a process that does what `python -c` is told to; all its files but `kept` are closed."""
    assert command[-2] == "-c", command
    if (pid := os.fork()) == 0:
        status = 1
        try:
            forkserver._forkserver._lock = threading.Lock()  # which is held at this moment
            sys.stdout = sys.__stdout__  # a file in its place is closed
            for file in map(int, os.listdir("/proc/self/fd")):
                if file > 2 and file not in kept:
                    with contextlib.suppress(OSError):
                        os.close(file)
            exec(command[-1], {"__name__": "__main__"})
            status = 0
        except SystemExit:
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    return pid


def is_running(pid):
    """Whether a process is there and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def is_group_running(group):
    """Whether a process of the group runs; not one that is dead and that nobody has asked about."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, process_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state not in "ZX":
                return True
    return False


def wait_until(condition, seconds=60):
    """Return when a condition holds; raises `TimeoutError` if it does not in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds} s")
        time.sleep(0.01)


def without_waiting_for_disks():
    """From here on files are not forced to the disk, for which each of thousands of calls waits some milliseconds.

    Only a machine that loses its power shows a difference; which calls are made, and in which order, tests still see.
    """
    os.fsync = lambda descriptor: None


def run_module(name, *arguments):
    """What `python -m name` does with these arguments."""
    import runpy

    sys.argv = [name, *map(str, arguments)]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def run_script(path, *arguments):
    """What `python -P path` does with these arguments: the folder of the script is not among those of modules."""
    import runpy

    sys.argv = [str(path), *map(str, arguments)]
    runpy.run_path(str(path), run_name="__main__")


def show_modules_with(package):
    """Print, as JSON, all modules that are there when every public name and module of a package was imported."""
    import pkgutil

    for name in [name for name in sys.modules if name.partition(".")[0] in ("var", "diffusion_baseline")]:
        del sys.modules[name]  # those of the process that this one was forked from
    whole = importlib.import_module(package)
    for module in pkgutil.iter_modules(whole.__path__, f"{package}."):
        importlib.import_module(module.name)
    for name in whole.__all__:
        getattr(whole, name)
    print(json.dumps(sorted(sys.modules)))


def _serve():
    # An optimiser imports torch._dynamo, which takes longer than most of what is done in these processes.
    import torch._dynamo  # noqa: F401
    import training_runs  # noqa: F401

    # Most of them train by commands, which import half of the package: 0.4 s each.
    import var.cli
    import var.recipes.transformer.job
    import var.recipes.vqvae.job
    import var.runs.carrying_out  # noqa: F401

    without_waiting_for_disks()
    gc.freeze()  # no collection in a process that is forked looks through, and so copies, what is there now
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            done, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if done else None
        elif (answer := os.fork()) == 0:
            _work(request)
        print(json.dumps(answer), flush=True)


def _work(request):
    status = 1
    faulthandler.register(ASKED)  # whoever waits for too long asks where all threads are
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.update({name: str(value) for name, value in request["environment"].items()})
        module, _, name = request["function"].rpartition(".")
        getattr(importlib.import_module(module or "training_runs"), name)(*request["arguments"], **request["named"])
        status = 0
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
