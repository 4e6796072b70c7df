"""`manage.py issue_token` for a client that is disabled: the token is made, and said to be refused."""

import io

import pytest
from django.core.management import call_command

from clients.models import Client

WARNING = "warning: this client is disabled: its tokens are refused until it is enabled"


@pytest.mark.django_db
def test_a_token_for_a_disabled_client_is_issued_with_a_warning() -> None:
    for enabled in (True, False):
        Client.objects.update_or_create(tool_id="bob", defaults={"enabled": enabled})
        out, said = io.StringIO(), io.StringIO()
        call_command("issue_token", "bob", stdout=out, stderr=said)
        assert out.getvalue().startswith("llmc_")
        assert (WARNING in said.getvalue()) is not enabled
