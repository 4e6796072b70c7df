"""Who sits at the admin in these tests, and what they look at."""

from typing import Any

from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from clients.grants import set_methods
from clients.models import Client


def ada() -> Browser:
    """The operator."""
    browser = Browser()
    known = User.objects.filter(username="ada").first()
    browser.force_login(known or User.objects.create_superuser("ada"))
    return browser


def olga(*permissions: str) -> Browser:
    """Staff with these permissions ("codename") of the app clients, and no others."""
    user = User.objects.create_user("olga", is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="clients", codename__in=permissions)
    )
    browser = Browser()
    browser.force_login(user)
    return browser


def client(tool_id: str = "bob", *methods: str, **more: Any) -> Client:
    made = Client.objects.create(tool_id=tool_id, position=Client.objects.count(), **more)
    set_methods(made, methods)
    return made


def queries(browser: Browser, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert browser.get(path).status_code == 200
    return len(captured)


def everything_stored() -> str:
    """Every value of every table, as text."""
    found: list[str] = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found += [str(value) for row in cursor.fetchall() for value in row]
    # Sessions are stored compressed.
    found += [str(session.get_decoded()) for session in Session.objects.all()]
    return "\n".join(found)
