from django.apps import AppConfig


class TelemetryConfig(AppConfig):
    name = "telemetry"
    verbose_name = "Record"

    def ready(self) -> None:
        from telemetry import audit_admin  # noqa: F401 - registers its tables, as `admin.py` does
