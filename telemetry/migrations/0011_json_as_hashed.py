"""The record's JSON is kept as it is hashed. Rows that are there keep the form in which PostgreSQL tells them."""

from django.db import migrations

import telemetry.fields

COLUMNS = {"attempts": list, "decision": dict, "sanitised": dict}


def _keep_as(kind):
    def keep(apps, schema_editor):
        if schema_editor.connection.vendor == "postgresql":
            # One statement, for each would write the whole table anew.
            changes = ", ".join(f"ALTER {name} TYPE {kind} USING {name}::{kind}" for name in COLUMNS)
            schema_editor.execute(f"ALTER TABLE telemetry_requestlog {changes}")

    return keep


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0010_remove_callrollup_refused")]

    operations = [
        migrations.SeparateDatabaseAndState(
            # SQLite has one kind of text: its table stays as it is.
            database_operations=[migrations.RunPython(_keep_as("json"), _keep_as("jsonb"))],
            state_operations=[
                migrations.AlterField("requestlog", name, telemetry.fields.KeptJSON(default=nothing))
                for name, nothing in COLUMNS.items()
            ],
        )
    ]
