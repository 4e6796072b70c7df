"""Default models that the provider did not list when it was asked last."""

from providers.models import Provider


def unlisted_defaults(row: Provider) -> list[str]:
    """Empty while nothing is known of what it lists."""
    found = set(row.model_rows.filter(discovered_at__isnull=False).values_list("model_id", flat=True))
    if not found:
        return []
    defaults = row.capability_rows.filter(declared=True).values_list("default_model", flat=True)
    wanted = dict.fromkeys(filter(None, (row.default_model, *defaults)))
    return [model for model in wanted if model not in found]


def warning(row: Provider) -> str:
    """In sentences; "" for nothing."""
    missing = unlisted_defaults(row)
    if not missing:
        return ""
    names = ", ".join(f"“{model}”" for model in missing)
    return (
        f"When “{row.name}” was asked for its models, it did not list {names}: calls that take it by default may "
        "fail. Choose another default model, or load this one at the provider."
    )
