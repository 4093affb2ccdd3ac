"""Where things are on one posed head: the points that paint, brows, hair and clothes are placed by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from avatars.builder.basemesh import Floats
from avatars.builder.eyes import eye_sphere
from avatars.builder.rig import PosedBody


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Points (3,) in metres. `eye` is the left eye's centre; the right one mirrors it."""

    eye: Floats
    eye_radius: float
    mouth: Floats
    nose: Floats
    chin: Floats
    ear: Floats
    crown: Floats
    skull: Floats
    neck: Floats


def find_landmarks(posed: PosedBody) -> Landmarks:
    """Measures the posed body."""
    mesh, v = posed.mesh, posed.vertices
    eye, radius = eye_sphere(posed, "l")
    body = v[mesh.group_vertices("body")]
    head = body[body[:, 1] > eye[1] - 0.11]
    centre = head[np.abs(head[:, 0]) < 0.006]
    level = centre[(centre[:, 1] < eye[1] - 0.01) & (centre[:, 1] > eye[1] - 0.06)]
    nose = level[np.argmax(level[:, 2])]
    upper = v[mesh.group_vertices("helper-upper-teeth")]
    bite = upper[np.abs(upper[:, 0]) < 0.004, 1].min()
    lips = centre[np.abs(centre[:, 1] - bite) < 0.004]
    mouth = np.array([0.0, bite - 0.0003, lips[:, 2].max()])
    beside = head[np.abs(head[:, 1] - eye[1] + 0.015) < 0.04]
    ear = beside[np.argmax(beside[:, 0])]
    crown = head[np.argmax(head[:, 1])]
    back = head[np.argmin(head[:, 2])]
    skull = np.array([0.0, eye[1] + 0.035, (back[2] + eye[2] + radius) / 2])
    chin = v[mesh.group_vertices("joint-jaw")].mean(0)
    neck = posed.skeleton.heads[posed.skeleton.index("Neck")]
    return Landmarks(eye, radius, mouth, nose, chin, ear, crown, skull, neck)
