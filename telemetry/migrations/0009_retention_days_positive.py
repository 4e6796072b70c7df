from django.db import migrations, models


def keep_a_day(apps, schema_editor):
    """A rule of no days, which no form took, removed every call at once. The shortest that there is removes less."""
    apps.get_model("telemetry", "RetentionRule").objects.filter(days__lt=1).update(days=1)


class Migration(migrations.Migration):
    dependencies = [
        ("telemetry", "0007_verifications_and_staff_failures"),
    ]

    operations = [
        migrations.RunPython(keep_a_day, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="retentionrule",
            constraint=models.CheckConstraint(
                condition=models.Q(("days__isnull", True), ("days__gte", 1), _connector="OR"),
                name="retention_days_positive",
            ),
        ),
    ]
