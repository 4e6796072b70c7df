"""Changes to the list of providers as a whole: its order, and copies of its rows."""

import uuid

from django.db import transaction
from django.db.models import Max

from providers.models import Provider, ProviderModel
from providers.turns import take_turn

MAX_NAME = 100


def next_position() -> int:
    last = Provider.objects.aggregate(last=Max("position"))["last"]
    return 0 if last is None else last + 1


def move(provider: Provider, steps: int) -> tuple[int, int]:
    """Moves it `steps` places down (negative: up), as far as there are places, and renumbers all 0…n-1.

    Returns its place before and after. Rows whose number stays are not saved.
    """
    with transaction.atomic():
        take_turn()
        rows = list(Provider.objects.select_for_update().order_by("position", "pk"))
        place = [row.pk for row in rows].index(provider.pk)
        moved = rows.pop(place)
        goal = min(max(place + steps, 0), len(rows))
        rows.insert(goal, moved)
        for n, row in enumerate(rows):
            if row.position != n:
                row.position = n
                row.save(update_fields=["position"])
    return place, goal


def duplicate(provider: Provider) -> Provider:
    """A disabled copy at the end of the order, without the stored key, which is bound to its own row."""
    with transaction.atomic():
        take_turn()
        configured = list(provider.model_rows.filter(configured=True))
        discovered = list(provider.model_rows.filter(configured=False))
        capabilities = list(provider.capability_rows.all())
        copy = Provider.objects.get(pk=provider.pk)
        copy.pk, copy._state.adding = None, True
        copy.uid, copy.name = uuid.uuid4(), _free_name(provider.name)
        copy.enabled, copy.stored_credential, copy.position = False, None, next_position()
        copy.save()
        for row in (*capabilities, *configured, *discovered):
            row.pk, row._state.adding, row.provider = None, True, copy
        for row in (*capabilities, *configured):
            row.save()
        # There may be thousands, and they are no configuration.
        ProviderModel.objects.bulk_create(discovered)
    return copy


def _free_name(name: str) -> str:
    taken = set(Provider.objects.values_list("name", flat=True))
    n = 1
    while True:
        ending = "-copy" if n == 1 else f"-copy-{n}"
        wanted = name[: MAX_NAME - len(ending)] + ending
        if wanted not in taken:
            return wanted
        n += 1
