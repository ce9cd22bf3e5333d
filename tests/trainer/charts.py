"""Charts for TensorBoard, which would take most of the time of a training of a few steps."""

from trainer.training.metrics_log import MetricsLog

CHARTS = {name: getattr(MetricsLog, name) for name in ("draw_loss_by_position", "draw_song")}


def draw_none(set_attribute=setattr) -> None:
    """Draw none from now on, by `setattr` or by a function that can take it back."""
    for name in CHARTS:
        set_attribute(MetricsLog, name, lambda *_: None)
