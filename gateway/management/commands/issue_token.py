"""`manage.py issue_token`: a new token for a client, shown once."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from clients.expiry import parse_lifetime
from clients.loader import is_disabled, issue, tool_ids
from clients.types import METHODS
from gateway.attribution import attributed
from gateway.configfile import CLIENTS, peppers
from gateway.judge import plain, problems_of


class Command(BaseCommand):
    help = "Issues a token for a client, which is created when there is none. Prints the token on stdout, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tool_id", help="the client, for example my-editor")
        parser.add_argument("--methods", default="", help=f"comma-separated, of {','.join(METHODS)}")
        parser.add_argument("--expires", help="for example 90d, 12h; default is never")

    def handle(self, *args: Any, **options: Any) -> None:
        tool_id = options["tool_id"]
        methods = _methods(options["methods"])
        try:
            expires_at = timezone.now() + parse_lifetime(options["expires"]) if options["expires"] else None
        except ValueError as error:
            raise CommandError(f"--expires {error}") from None
        is_new = tool_id not in tool_ids()
        if is_new:
            _require_good(tool_id)
        with transaction.atomic(), attributed("issue_token", f"token for {tool_id}"):
            minted = issue(tool_id, methods, peppers()[0], expires_at)
        if is_new:
            hint = "" if methods else ", which may call nothing: name its methods with --methods"
            self.stderr.write(f"Made the client {tool_id}{hint}")
        self.stderr.write(f"Token id {minted.token_id}. The token itself is shown only now:")
        if is_disabled(tool_id):
            self.stderr.write("warning: this client is disabled: its tokens are refused until it is enabled")
        self.stdout.write(minted.text)


def _methods(listed: str) -> list[str]:
    methods = [name for part in listed.split(",") if (name := part.strip())]
    if unknown := [name for name in methods if name not in METHODS]:
        raise CommandError(f"Unknown method {', '.join(unknown)}; known are {', '.join(METHODS)}")
    return methods


def _require_good(tool_id: str) -> None:
    if not 0 < len(tool_id) <= 200:
        raise CommandError("The tool id has 1 to 200 characters")
    for problem in problems_of(CLIENTS, {"clients": [{"toolId": tool_id, "allowedMethods": []}]}):
        raise CommandError(f"The tool id: {plain(problem.message)}")
