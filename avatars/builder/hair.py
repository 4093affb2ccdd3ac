"""Hair."""

import numpy as np

from avatars.builder.basemesh import Floats
from avatars.builder.landmarks import Landmarks


def scalp_cover(position: Floats, marks: Landmarks) -> Floats:
    """How far inside the hairline points (..., 3) are: below 0 outside, above 1 well inside."""
    rel = position - marks.skull
    x, y, z = rel[..., 0], rel[..., 1], rel[..., 2]
    angle = np.arctan2(np.abs(x), z)  # 0 in front, pi at the back
    line = np.interp(
        np.degrees(angle),
        [0, 20, 38, 52, 64, 76, 86, 96, 110, 130, 180],
        [0.046, 0.047, 0.042, 0.028, 0.006, -0.022, -0.030, -0.002, -0.062, -0.078, -0.082],
    )
    return (y - line) / 0.012
