"""The builder's geometry, painting and GLB writing on small inputs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avatars.builder.basemesh import BodyData, DataError
from avatars.builder.check import check, read_glb, triangles_of
from avatars.builder.gltf import Material, write_glb
from avatars.builder.raster import fill_gaps, noise3, png, rasterise
from avatars.builder.rig import Skeleton, between, rotation, strongest
from avatars.builder.surface import Surface, clip_surface, join, open_edges, smooth_normals, subdivide
from avatars.builder.visemes import VISEMES
from avatars.rigs import ARKIT, OCULUS

SQUARE = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
SKELETON = Skeleton(("Hips", "Head"), (-1, 0), np.array([[0.0, 1.0, 0.0], [0.0, 1.5, 0.0]]), np.zeros((0, 2)))


def square(name: str = "Face", **more: object) -> Surface:
    base = Surface(name, "Skin", SQUARE, SQUARE[:, :2], SKELETON.rigid(4, "Head"), np.array([[0, 1, 2], [0, 2, 3]]))
    return replace(base, **more)  # type: ignore[arg-type]


def area(s: Surface) -> float:
    a, b, c = s.points[s.triangles].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_every_viseme_is_a_combination_of_arkit_shapes() -> None:
    assert set(VISEMES) == set(OCULUS)
    assert {unit for parts in VISEMES.values() for unit in parts} <= {*ARKIT, "tongueUp", "cornerSeal"}


def test_lips_are_pressed_for_p_and_the_jaw_drops_most_for_a() -> None:
    assert VISEMES["viseme_PP"].get("jawOpen", 0) == 0
    assert VISEMES["viseme_PP"]["mouthPressLeft"] > 0.5
    assert max(VISEMES, key=lambda v: VISEMES[v].get("jawOpen", 0)) == "viseme_aa"


def test_clipping_cuts_along_the_zero_line() -> None:
    kept = clip_surface(square(), SQUARE[:, 0] - 0.25)
    assert kept.points[:, 0].max() == pytest.approx(0.25)
    assert area(kept) == pytest.approx(0.25)


def test_clipping_interpolates_uvs_and_keeps_the_winding() -> None:
    kept = clip_surface(square(), SQUARE[:, 0] - 0.25)
    assert np.allclose(kept.uvs, kept.points[:, :2])
    assert (smooth_normals(kept.points, kept.triangles)[:, 2] > 0.99).all()


def test_subdividing_keeps_area_and_border() -> None:
    finer = subdivide(square())
    assert len(finer.triangles) == 8
    assert area(finer) == pytest.approx(1.0)


def test_open_edges_are_those_of_one_triangle() -> None:
    assert {tuple(e) for e in open_edges(square().triangles)} == {(0, 1), (1, 2), (2, 3), (3, 0)}


def test_joined_surfaces_keep_their_own_triangles() -> None:
    both = join([square(), square(points=SQUARE + 5)])
    assert len(both.points) == 8
    assert both.triangles.max() == 7


def test_normals_agree_across_a_uv_seam() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 1, 0], [-1, 0, 1]])
    normals = smooth_normals(points, np.array([[0, 1, 2], [3, 4, 5]]))
    assert np.allclose(normals[0], normals[3])


def test_rasterising_interpolates_and_covers_the_triangles() -> None:
    image, covered = rasterise(SQUARE[:, :2], square().triangles, SQUARE, 32)
    assert covered.all()
    assert image[16, 8, 0] == pytest.approx(8.5 / 32, abs=1e-6)


def test_gaps_take_the_colour_around_them() -> None:
    image = np.zeros((8, 8, 1))
    known = np.zeros((8, 8), bool)
    image[0, 0], known[0, 0] = 0.7, True
    assert np.allclose(fill_gaps(image, known), 0.7)


def test_noise_is_bounded_smooth_and_repeatable() -> None:
    points = np.random.default_rng(1).uniform(-1, 1, (500, 3))
    value = noise3(points, 0.1, 5)
    assert np.abs(value).max() <= 1
    assert np.array_equal(value, noise3(points, 0.1, 5))
    assert np.abs(value - noise3(points + 1e-5, 0.1, 5)).max() < 0.01


def test_rotations_turn_by_the_right_hand_rule() -> None:
    assert np.allclose(rotation(np.array([0.0, 0.0, 1.0]), 90) @ [1, 0, 0], [0, 1, 0])
    assert np.allclose(between(np.array([1.0, 0, 0]), np.array([0.0, 0, 2])) @ [1, 0, 0], [0, 0, 1])


def test_the_four_strongest_bones_are_kept_and_scaled() -> None:
    index, value = strongest(np.array([[0.1, 0.2, 0.3, 0.2, 0.2]]))
    assert 0 not in index
    assert value.sum() == pytest.approx(1)


def test_a_glb_can_be_read_back() -> None:
    offsets = np.zeros((4, 3))
    offsets[2, 1] = 0.01
    glb = write_glb([square(morphs={"jawOpen": offsets})], [Material("Skin")], SKELETON, "CC0", {"id": "x"})
    gltf, binary = read_glb(glb)
    assert triangles_of(gltf) == 2
    assert gltf["meshes"][0]["extras"]["targetNames"] == ["jawOpen"]
    sparse = gltf["accessors"][gltf["meshes"][0]["primitives"][0]["targets"][0]["POSITION"]]["sparse"]
    assert sparse["count"] == 1
    view = gltf["bufferViews"][sparse["values"]["bufferView"]]
    value = np.frombuffer(binary, np.int16, 3, view["byteOffset"]) / 32767
    assert value == pytest.approx([0, 0.01, 0], abs=1e-4)


def test_equal_input_gives_equal_bytes() -> None:
    first, second = (write_glb([square()], [Material("Skin")], SKELETON, "CC0", {}) for _ in range(2))
    assert first == second


def test_the_check_names_missing_morphs_bones_and_big_textures(tmp_path: Path) -> None:
    picture = png("huge", np.zeros((2, 1030, 4)))
    glb = write_glb([square()], [Material("Skin", base=picture)], SKELETON, "", {})
    path = tmp_path / "a.glb"
    path.write_bytes(glb)
    text = "\n".join(str(p) for p in check(path))
    for words in (
        "Face: lacks the morph targets",
        "viseme_PP",
        "Jaw",
        "huge: 1030 x 2",
        "no licence line",
        "Teeth is missing",
    ):
        assert words in text


def test_the_check_refuses_files_that_are_not_glb(tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    path.write_bytes(b"glTF" + json.dumps({}).encode() * 20)
    assert [p.where for p in check(path)] == ["file"]


def test_a_folder_without_the_base_mesh_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"base\.obj"):
        BodyData(tmp_path)
