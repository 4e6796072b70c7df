"""Which methods a client may call: changed by difference, so that what nobody touched keeps its place in an export."""

from collections.abc import Collection
from typing import NamedTuple

from clients.models import Client, MethodPermission
from clients.types import METHODS


class Change(NamedTuple):
    """What really changed, in the order of METHODS."""

    granted: list[str]
    taken: list[str]

    def __bool__(self) -> bool:
        return bool(self.granted or self.taken)

    def __str__(self) -> str:
        said = [f"granted {', '.join(self.granted)}"] if self.granted else []
        said += [f"took away {', '.join(self.taken)}"] if self.taken else []
        return "; ".join(said) + "."


def change_methods(client: Client, *, add: Collection[str], remove: Collection[str]) -> Change:
    """What is granted already, or not granted anyway, stays as it is. Runs inside the caller's transaction.

    Rows are saved one by one, because saving is what tells the running processes.
    """
    rows = {row.method: row for row in MethodPermission.objects.filter(client=client)}
    done = Change(
        granted=[method for method in METHODS if method in add and method not in rows],
        taken=[method for method in METHODS if method in remove and method in rows],
    )
    place = max((row.position for row in rows.values()), default=-1) + 1
    for method in done.taken:
        rows[method].delete()
    for n, method in enumerate(done.granted):
        MethodPermission.objects.create(client=client, method=method, position=place + n)
    return done


def set_methods(client: Client, methods: Collection[str]) -> Change:
    """Exactly these."""
    return change_methods(client, add=methods, remove=[name for name in METHODS if name not in methods])
