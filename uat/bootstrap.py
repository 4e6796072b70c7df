"""From a bare checkout to a running server: environment, packages, secrets, preparation, then `exec`.

Only the standard library is used here: this runs before anything is installed. The process that the shell
started stays the same from end to end, so that its pid, signals and exit code are the server's.
"""

import argparse
import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

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


def main() -> None:
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
        VENV.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(VENV.parent / f".{VENV.name.lstrip('.')}.lock", "w")
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
    state = ROOT / (os.environ.get("LLM_CALLER_STATE_DIR") or "var")
    weights = state / "models" / "gemma-3-270m-q4_k_m.gguf"
    weights.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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


def run(command: list[object]) -> None:
    """Ends with the command's exit code when it fails. Its output goes to stderr: stdout is for JSON lines."""
    done = subprocess.run([str(part) for part in command], stdout=sys.stderr.fileno(), check=False)
    if done.returncode:
        sys.exit(done.returncode)


def say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
