"""Lines of an environment file that nobody would read: named, never shown."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from conftest import ROOT, RunningGateway

from gateway import envlines

CANARY = "sk-CANARY-0123456789"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (f"OPENAI_API_KEY = {CANARY}", "OPENAI_API_KEY"),
        (f"OPENAI_API_KEY ={CANARY}", "OPENAI_API_KEY"),
        (f"OPENAI_API_KEY: {CANARY}", "OPENAI_API_KEY"),
        (f"  OPENAI_API_KEY={CANARY}", "OPENAI_API_KEY"),
        (f"export  OPENAI_API_KEY={CANARY}", "OPENAI_API_KEY"),
        (f"OPENAI_API_KEY='{CANARY}", "OPENAI_API_KEY"),
        (f'OPENAI_API_KEY="{CANARY}" # mine', "OPENAI_API_KEY"),
        (f"OPENAI_API_KEY= '{CANARY}'", "OPENAI_API_KEY"),
        ("OPENAI_API_KEY='", "OPENAI_API_KEY"),
        (f"set OPENAI_API_KEY={CANARY}", "it"),
        (f"{CANARY}", "it"),
        (f"{CANARY}==", "it"),
        ("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC: ", "it"),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_a_line_that_is_no_assignment_is_named_by_its_number_and_never_shown(
    line: str, name: str, ending: str
) -> None:
    (said,) = envlines.problems_of(f"# mine\n\nA=1\n{line}{ending}")
    assert said.startswith(f"line 4: {name} ")
    assert "CANARY" not in said
    assert "MII" not in said


@pytest.mark.parametrize(
    "line",
    [
        "",
        "   ",
        "# A = b",
        "  # A = b",
        "A=",
        "A=b c",
        "export A=b",
        "A='b'",
        'A="b"',
        "A=''",
        "A=b'c",
        "A=a=b#c",
    ],
)
def test_a_line_that_is_read_is_no_problem(line: str) -> None:
    assert envlines.problems_of(f"{line}\r\nB=2\r\n") == []


def test_a_name_with_two_values_is_told_with_its_lines() -> None:
    assert envlines.repeated("A=1\nB=\nA=2\nB=3\nC=1\nC=1\n") == {"A": [1, 3]}


def commands(path: Path) -> list[list[str]]:
    manage = [sys.executable, "manage.py"]
    return [
        [sys.executable, "-m", "gateway.envfile"],
        *([*manage, *arguments] for arguments in (["prepare"], ["serve"], ["check"], ["issue_token", "x"])),
    ]


def test_every_command_ends_with_2_and_names_file_line_and_name(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"A=1\nOPENAI_API_KEY = {CANARY}\nVENDOR_KEY: {CANARY}\n")
    environment = os.environ | {
        "LLM_CALLER_ENV_FILE": str(path),
        "LLM_CALLER_STATE_DIR": str(tmp_path / "var"),
    }
    for command in commands(path):
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 2, command
        assert f"{path}, line 2: OPENAI_API_KEY is not written NAME=value" in done.stderr
        assert f"{path}, line 3: VENDOR_KEY is not written NAME=value" in done.stderr
        assert "CANARY" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_a_file_that_is_no_text_or_no_file_is_said_plainly(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"A=\xff" + CANARY.encode())
    for said, where in (("is not UTF-8", path), ("cannot be read (Is a directory)", tmp_path)):
        environment = os.environ | {"LLM_CALLER_ENV_FILE": str(where)}
        command = [sys.executable, "manage.py", "check"]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (2, f"llm-caller: {where} {said}\n")


def test_a_mark_before_the_first_line_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "own.env"
    path.write_bytes(b"\xef\xbb\xbfUAT_CLIENT_TOKEN=kept\r\nLLM_CALLER_LOG_LEVEL='warn'\r\n")
    with closing(RunningGateway(tmp_path, {"LLM_CALLER_ENV_FILE": str(path)})) as gateway:
        code = "import os; from django.conf import settings as s; print(os.environ['UAT_CLIENT_TOKEN'], s.ENVIRONMENT['LLM_CALLER_LOG_LEVEL'])"
        done = gateway.manage("shell", "-v", "0", "-c", code)
    assert done.stdout == "kept warn\n"
    assert "nvalid" not in done.stderr
