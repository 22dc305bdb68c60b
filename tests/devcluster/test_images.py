"""Image names and the programs behind them."""

import pytest

from devcluster.kubelet.images import ImageMissing, find_image, split_reference


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("redoubt-server", ("redoubt-server", "latest")),
        ("ghcr.io/redoubt/redoubt-server:1.2", ("redoubt-server", "1.2")),
        ("localhost:5000/redoubt-server", ("redoubt-server", "latest")),
        ("localhost:5000/x/redoubt-server:v1@sha256:0123", ("redoubt-server", "v1")),
    ],
)
def test_references_are_split_into_name_and_tag(reference: str, parts: tuple[str, str]) -> None:
    assert split_reference(reference) == parts


@pytest.mark.parametrize(
    "reference", ["redoubt-server:missing", "redoubt-server:missing-2", "nginx", "x/y:1"]
)
def test_unknown_images_and_tags_that_begin_with_missing_cannot_be_pulled(reference: str) -> None:
    with pytest.raises(ImageMissing, match="not found"):
        find_image(reference)


def test_every_tag_of_a_known_image_is_the_same_program() -> None:
    assert find_image("devcluster-tools:1") == find_image("example.com/devcluster-tools:2")
