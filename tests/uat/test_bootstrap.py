"""From a checkout to a server: stopped on the way without tracebacks, and with the model's files in the state folder."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, RunningGateway

BOOTSTRAP = [sys.executable, str(ROOT / "uat" / "bootstrap.py")]
WORK = "import os, sys, time; print('began', os.getpid(), file=sys.stderr, flush=True); time.sleep(60)"


def environment_with(folder: Path, script: str, *installed: str) -> Path:
    """A virtual environment that is installed already and whose Python is a shell script."""
    venv = folder / "venv"
    (venv / "bin").mkdir(parents=True)
    python = venv / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o700)
    for name, lock in {"server": "requirements.lock", "local-model": "requirements-local-model.lock"}.items():
        if name in installed:
            digest = hashlib.sha256((ROOT / lock).read_bytes()).hexdigest()
            (venv / f".installed-{name}").write_text(digest)
    return venv


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_start_that_is_stopped_half_way_says_so_in_one_line(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    venv = environment_with(tmp_path, f'exec {sys.executable} -c "{WORK}"', "server")
    env = {**os.environ, "LLM_CALLER_VENV": str(venv)}
    with subprocess.Popen(
        BOOTSTRAP, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as start:
        assert start.stderr is not None
        began, pid = start.stderr.readline().split()
        assert began == "began"
        os.killpg(start.pid, number)  # as a terminal does
        said = start.stderr.read()
    assert start.returncode == code
    assert said == f"llm-caller: stopped by {number.name} before the server ran\n"
    assert not Path("/proc", pid).exists(), "what was going on has ended too"


def test_a_command_that_is_stopped_shows_no_traceback(tmp_path: Path) -> None:
    gateway = RunningGateway(tmp_path, {})
    waits = f"import time; print('began', flush=True); {WORK}"
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", waits]
    with subprocess.Popen(
        command, cwd=ROOT, env=gateway.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        assert shell.stderr is not None
        assert shell.stdout.readline() == "began\n"
        assert shell.stderr.readline().startswith("began")
        shell.send_signal(signal.SIGINT)
        assert shell.stderr.read() == "llm-caller: stopped by Ctrl+C\n"
    assert shell.returncode == 130
    gateway.close()


def test_a_checkout_that_cannot_be_written_is_named() -> None:
    env = {**os.environ, "LLM_CALLER_VENV": "/proc/x/venv"}
    done = subprocess.run(BOOTSTRAP, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "llm-caller: /proc/x/.venv.lock cannot be written (No such file or directory); "
        "LLM_CALLER_VENV names another place\n"
    )


def test_the_model_lies_in_the_state_folder_that_the_environment_file_names(tmp_path: Path) -> None:
    told, state = tmp_path / "told", tmp_path / "else where"
    real = f"exec {sys.executable}"
    script = f"""case "$1" in
    uat/local_model.py) echo "$@" >"{told}.part"; mv "{told}.part" "{told}" ;;
    manage.py) [ "$2" = serve ] || {real} "$@" ;;
    *) {real} "$@" ;;
    esac"""
    gateway = RunningGateway(tmp_path, {"LLM_CALLER_ENV_FILE": str(tmp_path / ".env")})
    del gateway.env["LLM_CALLER_STATE_DIR"]
    gateway.env["LLM_CALLER_VENV"] = str(environment_with(tmp_path, script, "server", "local-model"))
    (tmp_path / ".env").write_text(f"LLM_CALLER_STATE_DIR='{state}'\n")
    subprocess.run([*BOOTSTRAP, "--local-model"], env=gateway.env, check=True)
    until = time.monotonic() + 30
    while not told.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert f"--weights {state}/models/" in told.read_text()
    assert {path.stat().st_mode & 0o777 for path in (state, state / "models")} == {0o700}
    gateway.close()
