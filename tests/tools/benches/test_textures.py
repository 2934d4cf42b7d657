from __future__ import annotations

from benches import command
from helpers.benches import by_name, run


def test_textures_puts_both_sets_side_by_side(tmp_path):
    content = run(tmp_path, "textures", "--quick", "--scenes", "3", "--repeats", "2")
    assert content["parameters"]["rendered_scenes"] == 4
    light, pixels, objects, distances, scores = content["sections"]
    for name in ("rendered", "generated"):
        assert 20 < by_name(light)[f"green: {name}"]["median"] < 230
        assert by_name(pixels)[f"pixels of an object: {name}"]["median"] > 100
        assert 2 <= by_name(objects)[f"objects in a scene: {name}"]["median"] <= 10
        assert len(by_name(scores)[f"color_kmeans ari_fg: {name}"]["samples"]) == 1
        assert by_name(scores)[f"one_slot ari: {name}"]["samples"] == [0]
    assert not any("traced" in row["name"] for row in distances["rows"])


def test_textures_names_a_folder_without_scenes(tmp_path, capsys):
    assert command.main(["textures", "--rendered", str(tmp_path)]) == 2
    assert f"--rendered {tmp_path}: no CLEVRTEX_full_*.png in it" in capsys.readouterr().err
