"""Who sits at the playground's page: the session that the browser sent, looked up when a ticket is redeemed.

The ticket alone says who was there when it was signed. A logout, another password, a deactivation or a lost right
voids it at once, because all of them show in what is read here. It costs a hop to a thread and a few queries,
which no route of the API does.
"""

from channels.db import database_sync_to_async
from django.contrib.auth import get_user
from django.db import DatabaseError
from django.http import HttpRequest

from gateway.errors import Refusal
from gateway.second_factor import may_enter
from gateway.sessions import SessionStore

MAY_PLAY = "clients.change_client"
"""Who calls as a client could as well give it a token: the same right is needed."""


async def may_play(key: str, username: str) -> bool:
    """Whether this person is logged in by that session, now, and has the right. Raises `Refusal`."""
    try:
        return await database_sync_to_async(_may_play)(key, username)
    except DatabaseError:
        raise Refusal("OVERLOADED", "The database does not answer", reason="DATABASE") from None


def _may_play(key: str, username: str) -> bool:
    request = HttpRequest()
    request.session = SessionStore(key)
    request.user = user = get_user(request)
    return user.get_username() == username and may_enter(request) and user.has_perm(MAY_PLAY)
