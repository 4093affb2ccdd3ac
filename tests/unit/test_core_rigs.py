"""Recognising a model's face by the names of its morph targets."""

from avatars.rigs import ARKIT, OCULUS, OCULUS_TO_VRM, VRM_MOUTH, rig


def test_a_model_with_the_standard_names_is_complete() -> None:
    found = rig([*OCULUS, *ARKIT])
    assert found.best == "oculus15"
    assert found.missing == ()


def test_case_separators_prefix_and_side_do_not_matter() -> None:
    found = rig(["blendShape1.eyeBlink_L", "Jaw_Open", "head:mouthSmile-right", "V_PP", "MOUTHFUNNEL", "eyeBlink.R"])
    assert found.arkit == {
        "eyeBlinkLeft": "blendShape1.eyeBlink_L",
        "jawOpen": "Jaw_Open",
        "mouthSmileRight": "head:mouthSmile-right",
        "mouthFunnel": "MOUTHFUNNEL",
        "eyeBlinkRight": "eyeBlink.R",
    }
    assert found.oculus == {"viseme_PP": "V_PP"}


def test_what_a_model_lacks_is_told() -> None:
    found = rig(name for name in ARKIT if name != "tongueOut")
    assert found.best == "arkit52"
    assert found.missing == ("tongueOut",)


def test_the_resting_viseme_may_be_absent() -> None:
    assert rig(OCULUS[1:]).best == "oculus15"


def test_a_vrm_speaks_with_five_vowels_of_either_version() -> None:
    assert rig([], ["aa", "ih", "ou", "ee", "oh", "happy"]).best == "vrm"
    found = rig([], ["A", "I", "U", "E", "O", "Joy", "Blink_L"])
    assert found.best == "vrm"
    assert (found.vrm["aa"], found.vrm["happy"], found.vrm["blinkLeft"]) == ("A", "Joy", "Blink_L")


def test_vroid_meshes_are_understood() -> None:
    found = rig([f"Face.M_F00_000_00_Fcl_MTH_{vowel}" for vowel in "AIUEO"])
    assert found.best == "vrm"
    assert found.vrm["oh"].endswith("MTH_O")


def test_a_model_without_a_mouth_cannot_speak() -> None:
    found = rig(["Body_fat", "weird"])
    assert not found.speaks
    assert set(found.missing) == {*OCULUS[1:], *ARKIT}


def test_every_viseme_has_a_vrm_mouth() -> None:
    assert set(OCULUS_TO_VRM) == set(OCULUS)
    assert {name for shape in OCULUS_TO_VRM.values() for name in shape} <= set(VRM_MOUTH)
