"""What the tables and fields of the change log are called: as in the forms."""

from django.apps import apps
from django.db.models import Model

from gateway.models import ConfigChange


def model_of(table: str) -> type[Model] | None:
    """None for a table of an older version of the product, and for what is no table."""
    try:
        return apps.get_model(table)
    except (LookupError, ValueError):
        return None


def table_name(table: str) -> str:
    model = model_of(table)
    return str(model._meta.verbose_name) if model else table


def field_name(table: str, name: str) -> str:
    model = model_of(table)
    fields = (*model._meta.concrete_fields, *model._meta.many_to_many) if model else ()
    return next((str(field.verbose_name) for field in fields if field.name == name), name)


def field_names(change: ConfigChange) -> list[str]:
    """Of what differs; a row added or removed is named by itself."""
    return [field_name(change.table, name) for name in change.after] if change.action == "changed" else []
