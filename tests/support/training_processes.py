"""Processes that train: forked from one that has imported torch, so that each starts at once.

Run as a program, this is that process: it forks for every line of JSON on its standard input and answers with a line.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


class Forker:
    """Starts functions of `training_runs` in processes of their own; `close` ends all."""

    def __init__(self):
        paths = [str(ROOT), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        )
        self._running = set()

    def start(self, function, log, environment=None, **arguments):
        """The process number of `function(**arguments)`; `log` is the file of its output."""
        pid = self._ask(function=function, arguments=arguments, environment=environment or {}, log=str(log))
        self._running.add(pid)
        return pid

    def poll(self, pid):
        """The exit status of a process, negative for a signal; None while it runs."""
        status = self._ask(poll=pid)
        if status is not None:
            self._running.discard(pid)
        return status

    def wait(self, pid, seconds=120):
        """The exit status of a process when it has ended."""
        until = time.monotonic() + seconds
        while (status := self.poll(pid)) is None:
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
                raise TimeoutError(f"process {pid} did not end within {seconds} s")
            time.sleep(0.01)
        return status

    def run(self, function, log, environment=None, **arguments):
        """The output of `function(**arguments)`, which must end well."""
        status = self.wait(self.start(function, log, environment, **arguments))
        text = Path(log).read_text()
        assert status == 0, text
        return text

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
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())


def _serve():
    import training_runs

    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            done, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if done else None
        elif (answer := os.fork()) == 0:
            _work(getattr(training_runs, request["function"]), request)
        print(json.dumps(answer), flush=True)


def _work(function, request):
    status = 1
    try:
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.environ.update(request["environment"])
        function(**request["arguments"])
        status = 0
    except SystemExit as leave:
        status = leave.code or 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
