"""`manage.py config` as a process: at a real terminal, and with a script of answers on standard input."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, RunningGateway, provider_entry, running_gateway

CANARY = "sk-canary-terminal-31"
COMMAND = (sys.executable, str(ROOT / "manage.py"), "config")
AT_THIS_TERMINAL = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)
"""What stands before a command so that Ctrl+C at its terminal reaches it, also where the tests run in the background
of a shell, which has them ignore it."""
NOBODY = "http://127.0.0.1:9/v1"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    with running_gateway(
        tmp_path, {"providers": {"lmstudio_a": provider_entry(NOBODY)}}, start=False
    ) as made:
        yield made


class Terminal:
    """The master's side of a pseudo-terminal; `seen` is all that the person saw."""

    def __init__(self, fd: int, process: "subprocess.Popen[bytes]") -> None:
        self.fd, self.process, self.seen = fd, process, ""

    def wait_for(self, text: str, seconds: float = 20) -> None:
        """Reads until `text` is there, after what was waited for before."""
        fresh, until = "", time.monotonic() + seconds
        while text not in fresh:
            ready, _, _ = select.select([self.fd], [], [], until - time.monotonic())
            assert ready, f"{text!r} did not come after: {self.seen}"
            fresh += os.read(self.fd, 4096).decode()
        self.seen += fresh

    def type(self, prompt: str, *keys: str) -> None:
        """Each of `keys` once the prompt stands there anew and the process waits for it: before that, Ctrl+C
        would come to nothing until the next key."""
        state = Path(f"/proc/{self.process.pid}/stat")
        for key in keys:
            self.wait_for(prompt)
            until, asleep = time.monotonic() + 5, 0
            # It may sleep for a moment over something else.
            while asleep < 10 and time.monotonic() < until:
                asleep = asleep + 1 if state.read_text().rpartition(") ")[2][0] == "S" else 0
                time.sleep(0.005)
            os.write(self.fd, key.encode())


@contextmanager
def terminal(gateway: RunningGateway) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    env = gateway.env | {"TERM": "dumb", "COLUMNS": "80"}
    command = (sys.executable, "-c", AT_THIS_TERMINAL, *COMMAND)
    process = subprocess.Popen(
        command, env=env, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_at_a_terminal_keys_are_not_echoed_and_ctrl_c_asks_once(gateway: RunningGateway) -> None:
    with terminal(gateway) as ada:
        ada.type("Choice: ", "3\n")
        ada.type("Change which provider [back]: ", "1\n")
        ada.type("[done]: ", "key\n")
        ada.type("Key [1]: ", "4\n")
        ada.type("not shown as you type: ", CANARY + "\n")
        ada.type("[done]: ", "\n")
        ada.type("Choice: ", "\x03")
        ada.type("Leave how [back]: ", "1\n")
        ada.type("Reason, for the history", "\n")
        ada.wait_for("Saved in the database.")
        assert ada.process.wait(10) == 0
        assert ada.seen.count("There are unsaved changes.") == 1
        assert CANARY not in ada.seen
        assert "\x1b[" not in ada.seen.replace("\x1b[?2004h", "").replace("\x1b[?2004l", ""), "no colours"
        assert max(len(line.rstrip("\r")) for line in ada.seen.split("\n")) <= 200
    assert '"stored": true' in (gateway.folder / "config" / "providers.json").read_text()


def test_at_a_terminal_ctrl_d_just_leaves_when_nothing_is_unsaved(gateway: RunningGateway) -> None:
    with terminal(gateway) as ada:
        ada.type("Choice: ", "\x04")
        assert ada.process.wait(10) == 0
    assert "unsaved" not in ada.seen


def scripted(gateway: RunningGateway, *answers: str) -> "subprocess.CompletedProcess[str]":
    script = "".join(f"{answer}\n" for answer in answers)
    return subprocess.run(
        COMMAND, env=gateway.env, cwd=ROOT, input=script, capture_output=True, text=True, check=False
    )


def test_a_script_of_answers_reads_like_the_dialogue_that_it_was(gateway: RunningGateway) -> None:
    done = scripted(gateway, "3", "1", "key", "4", CANARY, "default model", "m9", "", "13", "by script", "14")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Default model [echo]: m9\n" in done.stdout
    assert "Reason, for the history [edited in the config assistant]: by script\n" in done.stdout
    assert CANARY not in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if str(gateway.folder) not in line)
    versions = (
        "from gateway.models import ConfigVersion as V; v = V.objects.first(); print(v.author, v.reason)"
    )
    assert gateway.manage("shell", "-v", "0", "-c", versions).stdout.split(", ")[0] == "config assistant"
    assert '"m9"' in (gateway.folder / "config" / "providers.json").read_text()


def test_a_script_that_ends_too_soon_saves_nothing_and_exits_with_1(gateway: RunningGateway) -> None:
    before = (gateway.folder / "config" / "providers.json").read_bytes()
    done = scripted(gateway, "3", "1", "default model", "m9", "")
    assert done.returncode == 1
    assert done.stdout.endswith("Left without saving.\n")
    assert (gateway.folder / "config" / "providers.json").read_bytes() == before


def test_without_a_database_it_says_what_to_do(tmp_path: Path) -> None:
    fresh = RunningGateway(tmp_path, {})
    (tmp_path / "var").mkdir()
    try:
        done = scripted(fresh)
    finally:
        fresh.close()
    assert done.returncode == 2
    assert "run manage.py prepare" in done.stderr
    assert "Traceback" not in done.stderr
