"""A process whose huggingface_hub talks to the Hub on loopback, since it reads HF_ENDPOINT when it is imported.

The child answers one line of JSON for each one that it gets; warnings are errors in it.
"""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


class Client:
    def __init__(self, process):
        self.process = process

    def call(self, name, *args, **options):
        """What the operation of that name returns; ("error", class, message) if it raises."""
        self.process.stdin.write(json.dumps([name, args, options]) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the client has ended"
        return json.loads(line)

    def error(self, name, *args, **options):
        """The message of the `UserError` that an operation raises, which has one line."""
        answer = self.call(name, *args, **options)
        assert isinstance(answer, list), answer
        assert answer[:2] == ["error", "UserError"], answer
        assert "\n" not in answer[2]
        return answer[2]


@contextmanager
def running_client(address, folder):
    """`folder` is the one in which it works and keeps its home."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": address,
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)]),
    }
    with open(folder / "stderr", "w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", str(Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env=environment,
        )
        try:
            yield Client(process)
        finally:
            process.kill()
            process.communicate()


def load(name, *args, **options):
    """The values of all tensors of a model or of a pipeline's parts, by name."""
    import tiny_models

    loaded = getattr(tiny_models, name).from_pretrained(*args, **options)
    if isinstance(loaded, tiny_models.Pair):
        return {part: values(getattr(loaded, part)) for part in loaded.parts} | loaded.settings()
    return values(loaded)


def values(model):
    return {name: tensor.tolist() for name, tensor in model.state_dict().items()}


def push(name, folder, *args, card=None, **options):
    import tiny_models

    from diffusion_baseline import CascadePipeline
    from var.hub import ModelCard

    model = getattr(tiny_models, name, CascadePipeline).from_pretrained(folder)
    return model.push_to_hub(*args, card=card and ModelCard(**card), **options)


def find(*args, **options):
    from var.hub.remote import find_file

    return str(find_file(*args, **options))


def command(*arguments):
    from contextlib import redirect_stdout
    from io import StringIO

    from diffusion_baseline.cli import main

    with redirect_stdout(StringIO()):  # answers go there
        return main([*arguments])


def patience(seconds):
    from var.hub.remote import downloads

    downloads.PATIENCE = seconds


def serve():
    import time

    time.sleep = lambda seconds: None  # huggingface_hub waits between its attempts
    operations = {"load": load, "push": push, "find": find, "command": command, "patience": patience}
    for line in sys.stdin:
        name, args, options = json.loads(line)
        try:
            answer = operations[name](*args, **options)
        except Exception as error:
            from var.errors import UserError  # of which there are kinds: users catch it as this

            answer = ["error", ("UserError" if isinstance(error, UserError) else type(error).__name__), str(error)]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
