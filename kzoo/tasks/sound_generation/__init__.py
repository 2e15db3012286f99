"""Sound generation."""

from kzoo.tasks import base


class SoundGeneration(base.Task):
    """x"""

    name = "sound_generation"


TASK = SoundGeneration()
