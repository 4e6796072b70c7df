"""From a bare checkout to a running server: environment, packages, secrets, preparation, then `exec`.

Only the standard library is used here: this runs before anything is installed. The process that the shell
started stays the same from end to end, so that its pid, signals and exit code are the server's.
"""

import argparse
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(os.environ.get("LLM_CALLER_VENV") or ROOT / ".venv")
PYTHON = VENV / "bin" / "python"
LOCKS = {
    "server": "requirements.lock",
    "local-model": "requirements-local-model.lock",
    "otel": "requirements-otel.lock",
    "dev": "requirements-dev.lock",
}
MODEL_PORT = "1234"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STATE = "from gateway.environment import Environment; print(Environment().folder('LLM_CALLER_STATE_DIR'))"


class Stopped(Exception):
    """By a signal before there was a server that could drain."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name} before the server ran")
        self.code = 128 + number


def main() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        start()
    except Stopped as stopped:
        say(f"llm-caller: {stopped}")
        sys.exit(stopped.code)


def stop(number: int, _frame: FrameType | None) -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)  # a second one does not wait for what is being ended
    raise Stopped(number)


def start() -> None:
    parser = argparse.ArgumentParser(description="Starts LLM Caller, making what is missing.")
    parser.add_argument(
        "--local-model", action="store_true", help="also start a small real model on port 1234"
    )
    parser.add_argument("--install-only", choices=("server", "dev", "otel"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.chdir(ROOT)
    with only_one():
        install(options.install_only or "server")
        if options.local_model:
            install("local-model")
        if options.install_only:
            return
        run([PYTHON, "-m", "gateway.envfile"])
        run([PYTHON, "manage.py", "prepare"])
    if options.local_model:
        start_model()
    os.execv(PYTHON, [str(PYTHON), "manage.py", "serve"])


class only_one:
    """One start at a time in a checkout: two would install into the same folder."""

    def __enter__(self) -> None:
        path = VENV.parent / f".{VENV.name.lstrip('.')}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(path, "w")
        except OSError as error:
            say(
                f"llm-caller: {path} cannot be written ({error.strerror}); LLM_CALLER_VENV names another place"
            )
            sys.exit(2)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()


def install(what: str) -> None:
    """Installs a lock file unless the environment already holds exactly it."""
    lock = ROOT / LOCKS[what]
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    stamp = VENV / f".installed-{what}"
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == digest:
        return
    if not (VENV / "bin" / "pip").exists():  # without pip it was left half made
        say(f"Making {VENV}")
        run([sys.executable, "-m", "venv", VENV])
    say(f"Installing {lock.name}")
    pip = [PYTHON, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-input"]
    run([*pip, "--require-hashes", "-r", lock])
    stamp.write_text(digest)


def start_model() -> None:
    """The model is a child of the server-to-be and ends when the server's end of a pipe closes, so never
    before the server's drain is over."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    weights = models_folder() / "gemma-3-270m-q4_k_m.gguf"
    command = [
        PYTHON,
        "uat/local_model.py",
        "--port",
        MODEL_PORT,
        "--weights",
        weights,
        "--until-eof",
        str(reader),
    ]
    subprocess.Popen(
        command, pass_fds=(reader,), stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True
    )
    os.close(reader)


def models_folder() -> Path:
    """In the state folder, which `prepare` has made. Where that is, the settings know: also `.env` may say it."""
    command = [PYTHON, "-c", STATE]
    asked = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, process_group=0)
    folder = Path(asked.stdout.removesuffix("\n")) / "models"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def run(command: list[object]) -> None:
    """Ends with the command's exit code when it fails. Its output goes to stderr: stdout is for JSON lines.

    The command is a process group of its own: Ctrl+C reaches the bootstrap alone, which ends it without tracebacks.
    """
    child = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        process_group=0,
    )
    try:
        code = child.wait()
    except Stopped:
        with suppress(ProcessLookupError):  # it ended by itself meanwhile
            os.killpg(child.pid, signal.SIGTERM)
        child.wait()
        raise
    if code:
        sys.exit(code)


def say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
