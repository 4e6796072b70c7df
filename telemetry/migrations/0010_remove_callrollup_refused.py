"""How a call is classed follows from its outcome, which the other sums count already."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("telemetry", "0009_retention_days_positive")]

    operations = [migrations.RemoveField(model_name="callrollup", name="refused")]
