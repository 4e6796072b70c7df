from django.apps import AppConfig


class TelemetryConfig(AppConfig):
    name = "telemetry"
    verbose_name = "Record"

    def ready(self) -> None:
        from telemetry import audit_admin, beside_admin  # noqa: F401 - register their tables, as `admin.py` does
