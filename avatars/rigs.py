"""How models name their faces: Oculus-15 visemes, ARKit-52 blendshapes and VRM expressions, and who stands for whom."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

OCULUS = tuple(f"viseme_{name}" for name in "sil PP FF TH DD kk CH SS nn RR aa E I O U".split())

_PAIRS = (
    "eyeBlink eyeLookDown eyeLookIn eyeLookOut eyeLookUp eyeSquint eyeWide mouthSmile mouthFrown mouthDimple "
    "mouthStretch mouthPress mouthLowerDown mouthUpperUp browDown browOuterUp cheekSquint noseSneer jaw mouth"
)
_SINGLES = (
    "jawForward jawOpen mouthClose mouthFunnel mouthPucker mouthRollLower mouthRollUpper mouthShrugLower "
    "mouthShrugUpper browInnerUp cheekPuff tongueOut"
)
ARKIT = tuple(sorted([*_SINGLES.split(), *(name + side for name in _PAIRS.split() for side in ("Left", "Right"))]))

VRM_MOUTH = ("aa", "ih", "ou", "ee", "oh")
VRM = (
    *VRM_MOUTH,
    *"blink blinkLeft blinkRight lookUp lookDown lookLeft lookRight happy angry sad relaxed surprised neutral".split(),
)

# A VRM mouth has five vowels and no closed lips: closures are the absence of every vowel.
OCULUS_TO_VRM: Mapping[str, Mapping[str, float]] = {
    "viseme_sil": {},
    "viseme_PP": {},
    "viseme_FF": {"ih": 0.15},
    "viseme_TH": {"ih": 0.25},
    "viseme_DD": {"ih": 0.3},
    "viseme_kk": {"ih": 0.3},
    "viseme_CH": {"ou": 0.45},
    "viseme_SS": {"ee": 0.25},
    "viseme_nn": {"ih": 0.25},
    "viseme_RR": {"ou": 0.4},
    "viseme_aa": {"aa": 1.0},
    "viseme_E": {"ee": 0.8},
    "viseme_I": {"ih": 0.8},
    "viseme_O": {"oh": 1.0},
    "viseme_U": {"ou": 1.0},
}

# Expressions of VRM 0 and of VRoid's meshes, by the names of VRM 1.
_VRM_NAMES = {
    **{"a": "aa", "i": "ih", "u": "ou", "e": "ee", "o": "oh"},
    **{"blinkl": "blinkLeft", "blinkr": "blinkRight", "joy": "happy", "sorrow": "sad", "fun": "relaxed"},
    **{f"fclmth{vrm0}": vrm1 for vrm0, vrm1 in zip("aiueo", VRM_MOUTH, strict=True)},
    **{"fcleyeclose": "blink", "fcleyeclosel": "blinkLeft", "fcleyecloser": "blinkRight"},
    **{"fclalljoy": "happy", "fclallangry": "angry", "fclallsorrow": "sad", "fclallfun": "relaxed"},
    **{"fclallsurprised": "surprised", "fclallneutral": "neutral"},
}
_SHORT_SIDE = re.compile(r"(?<=[a-z])[_.\- ]?([LR])$")
_SEPARATORS = re.compile(r"[^0-9A-Za-z]")


def _key(name: str) -> str:
    return _SEPARATORS.sub("", name).lower()


_OCULUS_KEYS = {_key(name): name for name in OCULUS} | {f"v{_key(name)[6:]}": name for name in OCULUS}
_ARKIT_KEYS = {_key(name): name for name in ARKIT}
_VRM_KEYS = {_key(name): name for name in VRM} | _VRM_NAMES


@dataclass(frozen=True, slots=True)
class Rig:
    """A model's face: for each standard name the model's own, by set."""

    oculus: Mapping[str, str]
    arkit: Mapping[str, str]
    vrm: Mapping[str, str]

    @property
    def speaks(self) -> bool:
        """Whether its mouth can follow speech with at least one of the sets."""
        return self.best is not None

    @property
    def best(self) -> str | None:
        """The set to drive the mouth by: "oculus15", "arkit52", "vrm", or None when the mouth cannot speak."""
        if all(name in self.oculus for name in OCULUS[1:]):
            return "oculus15"
        if all(name in self.arkit for name in _SPEECH):
            return "arkit52"
        return "vrm" if all(name in self.vrm for name in VRM_MOUTH) else None

    @property
    def missing(self) -> tuple[str, ...]:
        """Standard names the model lacks, of the sets it has any of; all visemes and blendshapes when it has none."""
        lacking: list[str] = []
        for wanted, found in ((OCULUS[1:], self.oculus), (ARKIT, self.arkit), (VRM_MOUTH, self.vrm)):
            if found:
                lacking += [name for name in wanted if name not in found]
        return tuple(lacking) if self.oculus or self.arkit or self.vrm else OCULUS[1:] + ARKIT


_SPEECH = ("jawOpen", "mouthFunnel", "mouthPucker", "mouthPressLeft", "mouthPressRight", "mouthRollLower")


def rig(names: Iterable[str], expressions: Iterable[str] = ()) -> Rig:
    """Recognise a model's morph targets, and the expressions a VRM declares, however they are spelt.

    Case, separators, a prefix up to the last "." or ":" and the side as `_L`, `Left` or `-left` do not matter. Of two
    names for one shape the first counts.
    """
    oculus: dict[str, str] = {}
    arkit: dict[str, str] = {}
    vrm: dict[str, str] = {}
    for name in names:
        bare = re.split(r"[.:](?=[^.:]{2,}$)", name)[-1]
        long = _SHORT_SIDE.sub(lambda side: "Left" if side[1] == "L" else "Right", bare)
        for key in (_key(bare), _key(long)):
            if key in _OCULUS_KEYS:
                oculus.setdefault(_OCULUS_KEYS[key], name)
            elif key in _ARKIT_KEYS:
                arkit.setdefault(_ARKIT_KEYS[key], name)
            elif (at := key.find("fcl")) >= 0 and key[at:] in _VRM_NAMES:
                vrm.setdefault(_VRM_NAMES[key[at:]], name)
    for name in expressions:
        if _key(name) in _VRM_KEYS:
            vrm.setdefault(_VRM_KEYS[_key(name)], name)
    return Rig(oculus, arkit, vrm)
