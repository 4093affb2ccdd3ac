"""The one table of mouth shapes: sounds to Oculus-15 visemes, and those to ARKit-52 weights and Azure-22 ids.

Sounds are IPA as espeak-ng and Piper write them (and Misaki's capital diphthongs, for Kokoro).
"""

import unicodedata
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

OCULUS_15 = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "I", "O", "U")
SIL, PP, FF, TH, DD, KK, CH, SS, NN, RR, AA, EH, IH, OH, OU = range(15)

ARKIT_52 = tuple(
    """
    eyeBlinkLeft eyeLookDownLeft eyeLookInLeft eyeLookOutLeft eyeLookUpLeft eyeSquintLeft eyeWideLeft eyeBlinkRight
    eyeLookDownRight eyeLookInRight eyeLookOutRight eyeLookUpRight eyeSquintRight eyeWideRight jawForward jawLeft
    jawRight jawOpen mouthClose mouthFunnel mouthPucker mouthLeft mouthRight mouthSmileLeft mouthSmileRight
    mouthFrownLeft mouthFrownRight mouthDimpleLeft mouthDimpleRight mouthStretchLeft mouthStretchRight
    mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper mouthPressLeft mouthPressRight mouthLowerDownLeft
    mouthLowerDownRight mouthUpperUpLeft mouthUpperUpRight browDownLeft browDownRight browInnerUp browOuterUpLeft
    browOuterUpRight cheekPuff cheekSquintLeft cheekSquintRight noseSneerLeft noseSneerRight tongueOut
    """.split()
)

# One id each, so that keys translate one to one: Azure puts n with t and d (19) and th with them too; here n has l's
# shape (14), which differs by the tongue alone, and th has the voiced one's (17).
AZURE_22 = (0, 21, 18, 17, 19, 20, 16, 15, 14, 13, 2, 4, 6, 8, 7)

# Both sides of the face where a name ends in "*".
_SHAPES: dict[int, dict[str, float]] = {
    SIL: {},
    PP: {"mouthPress*": 0.75, "mouthRollLower": 0.45, "mouthRollUpper": 0.35, "mouthPucker": 0.1},
    FF: {"jawOpen": 0.08, "mouthRollLower": 0.8, "mouthShrugLower": 0.25, "mouthUpperUp*": 0.4, "mouthPress*": 0.15},
    TH: {"jawOpen": 0.2, "tongueOut": 0.3, "mouthLowerDown*": 0.25, "mouthUpperUp*": 0.2},
    DD: {"jawOpen": 0.16, "mouthLowerDown*": 0.3, "mouthUpperUp*": 0.2},
    KK: {"jawOpen": 0.22, "mouthLowerDown*": 0.25, "mouthUpperUp*": 0.2, "mouthStretch*": 0.15},
    CH: {"jawOpen": 0.1, "mouthFunnel": 0.65, "mouthPucker": 0.2, "mouthUpperUp*": 0.2, "mouthLowerDown*": 0.2},
    SS: {"jawOpen": 0.05, "mouthStretch*": 0.3, "mouthSmile*": 0.15, "mouthLowerDown*": 0.5, "mouthUpperUp*": 0.35},
    NN: {"jawOpen": 0.12, "mouthLowerDown*": 0.3, "mouthUpperUp*": 0.15},
    RR: {"jawOpen": 0.14, "mouthFunnel": 0.35, "mouthPucker": 0.25, "mouthLowerDown*": 0.15},
    AA: {"jawOpen": 0.6, "mouthUpperUp*": 0.2, "mouthLowerDown*": 0.2, "mouthStretch*": 0.1},
    EH: {"jawOpen": 0.34, "mouthStretch*": 0.3, "mouthSmile*": 0.2, "mouthUpperUp*": 0.2, "mouthLowerDown*": 0.3},
    IH: {"jawOpen": 0.2, "mouthSmile*": 0.35, "mouthStretch*": 0.3, "mouthUpperUp*": 0.15, "mouthLowerDown*": 0.3},
    OH: {"jawOpen": 0.4, "mouthFunnel": 0.7, "mouthPucker": 0.3},
    OU: {"jawOpen": 0.16, "mouthFunnel": 0.35, "mouthPucker": 0.85},
}


def _matrix() -> NDArray[np.float32]:
    matrix = np.zeros((len(OCULUS_15), len(ARKIT_52)), np.float32)
    for viseme, shape in _SHAPES.items():
        for name, weight in shape.items():
            for side in ("Left", "Right") if name.endswith("*") else ("",):
                matrix[viseme, ARKIT_52.index(name.rstrip("*") + side)] = weight
    matrix.setflags(write=False)
    return matrix


# [15, 52]: row v is the ARKit face of viseme v at full weight; faces add up.
ARKIT_OF_OCULUS = _matrix()


class Kind(Enum):
    """How a sound binds the mouth."""

    PAUSE = "pause"
    BILABIAL = "bilabial"  # the lips close
    LABIODENTAL = "labiodental"  # the lower lip touches the teeth
    SIBILANT = "sibilant"  # the jaw is narrow
    LIP_HEAVY = "lip-heavy"  # rounded consonants: early, late, over their neighbours
    TONGUE = "tongue"  # the lips are left to the neighbours
    VOWEL = "vowel"
    ROUNDED = "rounded vowel"


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound's target: the weights of its visemes, and how it binds the mouth."""

    mix: tuple[tuple[int, float], ...]
    kind: Kind


PAUSE = Sound(((SIL, 1.0),), Kind.PAUSE)


def _sounds(kind: Kind, symbols: str, *mix: tuple[int, float]) -> dict[str, Sound]:
    return {symbol: Sound(mix, kind) for symbol in symbols.split()}


_SOUNDS: dict[str, Sound] = {
    **_sounds(Kind.BILABIAL, "p b m ɓ ʘ", (PP, 1.0)),
    **_sounds(Kind.LABIODENTAL, "f v ɱ ⱱ", (FF, 1.0)),
    **_sounds(Kind.LABIODENTAL, "ʋ ɸ β", (FF, 0.7), (OU, 0.2)),
    **_sounds(Kind.TONGUE, "θ ð", (TH, 1.0)),
    **_sounds(Kind.TONGUE, "t d ʈ ɖ ɗ ɾ ɽ ǀ ǃ ᶑ", (DD, 1.0)),
    **_sounds(Kind.TONGUE, "k ɡ g ŋ q ɢ x ɣ χ ʁ ɴ c ɟ ç ʝ ɠ ʛ ʄ ħ ʕ ʀ ʜ ʢ ɧ ɰ", (KK, 1.0)),
    **_sounds(Kind.TONGUE, "n l ɲ ɳ ɫ ɭ ʎ ʟ ɬ ɮ ɺ ǁ", (NN, 1.0)),
    **_sounds(Kind.TONGUE, "h ɦ ʔ ʡ", (KK, 0.4)),
    **_sounds(Kind.SIBILANT, "s z", (SS, 1.0)),
    **_sounds(Kind.LIP_HEAVY, "ʃ ʒ ʂ ʐ ɕ ʑ", (CH, 1.0)),
    **_sounds(Kind.LIP_HEAVY, "ɹ ɻ", (RR, 1.0)),
    **_sounds(Kind.TONGUE, "r", (RR, 1.0)),
    **_sounds(Kind.LIP_HEAVY, "w ɥ ʍ", (OU, 1.0)),
    **_sounds(Kind.VOWEL, "j", (IH, 0.8)),
    **_sounds(Kind.VOWEL, "a ɑ ɐ ʌ ä", (AA, 1.0)),
    **_sounds(Kind.VOWEL, "æ", (AA, 0.65), (EH, 0.35)),
    **_sounds(Kind.VOWEL, "ə ɘ ᵊ", (EH, 0.4), (AA, 0.25)),
    **_sounds(Kind.VOWEL, "e ɛ", (EH, 1.0)),
    **_sounds(Kind.VOWEL, "ɚ ɝ", (RR, 0.6), (EH, 0.35)),
    **_sounds(Kind.VOWEL, "ɜ", (EH, 0.6), (RR, 0.35)),
    **_sounds(Kind.VOWEL, "i", (IH, 1.0)),
    **_sounds(Kind.VOWEL, "ɪ ɨ ᵻ", (IH, 0.8), (EH, 0.1)),
    **_sounds(Kind.VOWEL, "ɯ ɤ", (IH, 0.4), (EH, 0.4)),
    **_sounds(Kind.ROUNDED, "o ɔ ɒ", (OH, 1.0)),
    **_sounds(Kind.ROUNDED, "ɵ ɞ ø œ ɶ", (OH, 0.6), (OU, 0.35)),
    **_sounds(Kind.ROUNDED, "u", (OU, 1.0)),
    **_sounds(Kind.ROUNDED, "ʊ ʏ y ʉ ᵿ", (OU, 0.9)),
}

_LETTERS = {
    **{"ʧ": "tʃ", "ʤ": "dʒ", "ʨ": "tɕ", "ʥ": "dʑ", "ʦ": "ts", "ʣ": "dz", "ꭧ": "tʃ", "ꭦ": "dʒ"},
    **{"A": "eɪ", "I": "aɪ", "W": "aʊ", "Y": "ɔɪ", "O": "oʊ", "Q": "əʊ", "T": "ɾ"},
}
_SILENT = frozenset(' _^$|.,;:!?…—–-¡¿。、，！？"«»“”()\n\t')


@lru_cache(maxsize=4096)
def sounds(symbol: str) -> tuple[Sound, ...]:
    """What `symbol` asks of the mouth, in order: two sounds for a diphthong or an affricate, a pause for punctuation,
    nothing for a mark without a sound of its own (stress, length, tie).

    An unknown letter is a neutral vowel when it looks like one, a tongue sound otherwise: the lips then follow the
    neighbours.
    """
    if not symbol or symbol in ("sil", "sp", "spn", "<p>") or all(character in _SILENT for character in symbol):
        return (PAUSE,)
    if symbol in _SOUNDS:
        return (_SOUNDS[symbol],)
    spelt = "".join(_LETTERS.get(character, character) for character in unicodedata.normalize("NFD", symbol))
    return tuple(sound for character in spelt if (sound := _letter(character)) is not None)


def _letter(character: str) -> Sound | None:
    if character in _SOUNDS:
        return _SOUNDS[character]
    if character in _SILENT or unicodedata.category(character) not in ("Ll", "Lu", "Lo"):
        return None
    base = unicodedata.normalize("NFKD", character.lower())[0]
    if base in _SOUNDS:
        return _SOUNDS[base]
    return _SOUNDS["ə"] if "VOWEL" in unicodedata.name(character, "") else _SOUNDS["t"]
