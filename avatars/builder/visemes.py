"""The 15 Oculus visemes as combinations of the 52 ARKit shapes."""

from __future__ import annotations


def _both(name: str, weight: float) -> dict[str, float]:
    return {f"{name}Left": weight, f"{name}Right": weight}


#: Two shapes are the builder's own: `tongueUp` lifts the tongue's tip to the ridge behind the upper teeth, and
#: `cornerSeal` closes the lips near the corners of the mouth.
VISEMES: dict[str, dict[str, float]] = {
    "viseme_sil": {},
    "viseme_PP": {
        **_both("mouthPress", 0.6),
        "mouthClose": 0.07,
        "mouthRollLower": 0.35,
        "mouthRollUpper": 0.15,
        "mouthPucker": 0.1,
        "cornerSeal": 1.0,
    },
    "viseme_FF": {
        "cornerSeal": 0.7,
        "jawOpen": 0.06,
        "mouthClose": 0.05,
        "mouthRollLower": 0.85,
        "mouthShrugLower": 0.2,
        **_both("mouthUpperUp", 0.3),
    },
    "viseme_TH": {
        "jawOpen": 0.22,
        "tongueOut": 0.3,
        "tongueUp": 0.4,
        **_both("mouthLowerDown", 0.25),
        **_both("mouthUpperUp", 0.2),
    },
    "viseme_DD": {"jawOpen": 0.16, "tongueUp": 0.9, **_both("mouthLowerDown", 0.3), **_both("mouthUpperUp", 0.2)},
    "viseme_kk": {
        "jawOpen": 0.22,
        **_both("mouthLowerDown", 0.25),
        **_both("mouthUpperUp", 0.2),
        **_both("mouthStretch", 0.15),
    },
    "viseme_CH": {
        "jawOpen": 0.1,
        "mouthFunnel": 0.65,
        "mouthPucker": 0.2,
        **_both("mouthUpperUp", 0.2),
        **_both("mouthLowerDown", 0.2),
    },
    "viseme_SS": {
        "jawOpen": 0.05,
        "tongueUp": 0.5,
        **_both("mouthStretch", 0.3),
        **_both("mouthSmile", 0.15),
        **_both("mouthLowerDown", 0.5),
        **_both("mouthUpperUp", 0.35),
    },
    "viseme_nn": {"jawOpen": 0.12, "tongueUp": 1.0, **_both("mouthLowerDown", 0.3), **_both("mouthUpperUp", 0.15)},
    "viseme_RR": {
        "jawOpen": 0.14,
        "mouthFunnel": 0.35,
        "mouthPucker": 0.25,
        "tongueUp": 0.4,
        **_both("mouthLowerDown", 0.15),
    },
    "viseme_aa": {
        "jawOpen": 0.62,
        **_both("mouthUpperUp", 0.2),
        **_both("mouthLowerDown", 0.2),
        **_both("mouthStretch", 0.1),
    },
    "viseme_E": {
        "jawOpen": 0.34,
        **_both("mouthStretch", 0.3),
        **_both("mouthSmile", 0.2),
        **_both("mouthUpperUp", 0.2),
        **_both("mouthLowerDown", 0.3),
    },
    "viseme_I": {
        "jawOpen": 0.2,
        **_both("mouthSmile", 0.35),
        **_both("mouthStretch", 0.3),
        **_both("mouthUpperUp", 0.15),
        **_both("mouthLowerDown", 0.3),
    },
    "viseme_O": {"jawOpen": 0.34, "mouthFunnel": 0.45, "mouthPucker": 0.55},
    "viseme_U": {"jawOpen": 0.16, "mouthPucker": 0.85, "mouthFunnel": 0.35},
}
