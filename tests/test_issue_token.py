"""`manage.py issue_token`: what it made beside the token is said, and a token that would not work is refused."""

import io

import pytest
from django.core.management import CommandError, call_command

from clients.models import Client, ClientToken

pytestmark = pytest.mark.django_db


def issue(*arguments: str) -> list[str]:
    said = io.StringIO()
    call_command("issue_token", *arguments, stdout=io.StringIO(), stderr=said)
    return said.getvalue().splitlines()


def test_a_new_client_is_told_so_that_a_typo_is_seen() -> None:
    assert (
        issue("edtior", "--expires", "90d")[0]
        == "Made the client edtior, which may call nothing: name its methods with --methods"
    )
    assert issue("editor", "--methods", "chat, embed")[0] == "Made the client editor"
    assert Client.objects.get(tool_id="editor").permissions.count() == 2


def test_a_client_that_is_there_is_not_told() -> None:
    issue("editor", "--methods", "chat")
    (only,) = issue("editor")
    assert only.startswith("Token id ")


@pytest.mark.parametrize("period", ["0d", "0s", "000h"])
def test_a_token_that_ends_at_once_is_refused(period: str) -> None:
    with pytest.raises(CommandError, match="--expires takes more than nothing"):
        issue("editor", "--expires", period)
    assert not Client.objects.exists()
    issue("editor")
    token = ClientToken.objects.get()
    with pytest.raises(CommandError, match="--expires takes more than nothing"):
        call_command("rotate_token", token.token_id, "--expires", period)
    out = io.StringIO()
    call_command("rotate_token", token.token_id, "--overlap", "0s", stdout=out, stderr=io.StringIO())
    assert out.getvalue().startswith("llmc_"), "an old token may well end at once"
