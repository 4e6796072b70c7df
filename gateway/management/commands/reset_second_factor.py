"""`manage.py reset_second_factor USERNAME`: for who has lost both the device and the backup codes."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import second_factor
from gateway.attribution import attributed
from gateway.console.history import note


class Command(BaseCommand):
    help = (
        "Removes a staff member's second factor, so that the password alone logs in, or a new one is set up."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, **options: Any) -> None:
        user = get_user_model().objects.filter(username=options["username"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['username']!r}")
        with attributed("reset_second_factor", f"second factor of {user} reset"):
            removed = second_factor.remove(user)
        if not removed:
            self.stdout.write(f"{user} has no second factor; nothing to reset")
            return
        note(user, "Second factor reset by manage.py reset_second_factor.")
        self.stdout.write(f"The second factor of {user} is reset")
